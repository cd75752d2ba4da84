"""A chart repository on loopback, and the operator that the chart brings."""

from __future__ import annotations

import http.server
import io
import logging
import re
import tarfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Final

import httpx
import yaml

from local_cluster.kube import Kube, Object
from tests.engine.kube import path_of, watch

CHART: Final = Path(__file__).parent / "chart"
NAME: Final = "kube-prometheus-stack"
GROUP: Final = "/apis/monitoring.coreos.com/v1"
LEAVES: Final = ("podmonitors", "prometheusrules")
"""Kinds that own nothing."""
HELD: Final = "foregroundDeletion"
log = logging.getLogger(__name__)


@cache
def package(version: str) -> bytes:
    """Return the chart's archive, as a version of it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for path in sorted(CHART.rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                if path.name == "Chart.yaml":
                    content = content.replace(b"0.0.0", version.encode())
                entry = tarfile.TarInfo(f"{NAME}/{path.relative_to(CHART)}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


class ChartRepository:
    """Serves an index of the versions that are there, and each one's archive."""

    def __init__(self, versions: Sequence[str]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = re.fullmatch(rf"/{NAME}-(\d+\.\d+\.\d+)\.tgz", self.path)
                body = package(asked[1]) if asked and asked[1] in versions else None
                if self.path == "/index.yaml":
                    body = _index(versions)
                self.send_response(200 if body is not None else 404)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *arguments: object) -> None:
                log.debug("%s", arguments)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _index(versions: Sequence[str]) -> bytes:
    entries = [
        {"apiVersion": "v2", "name": NAME, "version": version, "urls": [f"{NAME}-{version}.tgz"]}
        for version in versions
    ]
    return yaml.safe_dump({"apiVersion": "v1", "entries": {NAME: entries}}).encode()


@dataclass
class Operator:
    """Makes a StatefulSet of each Prometheus object, as the real operator does.

    Source: prometheus-operator, Documentation/platform/storage.md: the volume claim template becomes the
    StatefulSet's; where an update of that is forbidden the set is deleted and made again, and claims that
    exist keep their size. They stay when the Prometheus goes, unless its
    persistentVolumeClaimRetentionPolicy, handed to the StatefulSet, says otherwise.
    """

    kube: Kube
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        watched = [("prometheuses", self._on_change)]
        watched += [(plural, partial(self._release, plural)) for plural in LEAVES]
        for plural, on_change in watched:
            arguments = (self.kube, f"{GROUP}/{plural}", on_change, self._stop)
            threading.Thread(target=watch, args=arguments, daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def behind(self) -> list[str]:
        """Return the Prometheus objects whose StatefulSet is not what they ask for yet."""
        return [
            f"prometheus {prometheus['metadata']['name']}"
            for prometheus in self.kube.items(f"{GROUP}/prometheuses")
            if "deletionTimestamp" not in prometheus["metadata"] and not self._is_settled(prometheus)
        ]

    def _is_settled(self, prometheus: Object) -> bool:
        wanted = _stateful_set(prometheus)
        path = f"/apis/apps/v1/namespaces/{prometheus['metadata']['namespace']}/statefulsets"
        current = self.kube.get(f"{path}/{wanted['metadata']['name']}")
        if current is None or _claims(current) != _claims(wanted):
            return False
        (container,) = wanted["spec"]["template"]["spec"]["containers"]
        (running,) = current["spec"]["template"]["spec"]["containers"]
        return bool(
            running["args"] == container["args"] and current["spec"]["replicas"] == wanted["spec"]["replicas"]
        )

    def _release(self, plural: str, event: str, item: Object) -> None:
        """Let an object go that is deleted in the foreground, as the garbage collector does.

        The real one looks for new kinds every 30 s (kube-controller-manager, garbage collector's Sync), and
        holds their objects until then. Definitions are seldom that young but here, where tests would wait.
        """
        metadata = item["metadata"]
        if event != "DELETED" and "deletionTimestamp" in metadata and metadata.get("finalizers") == [HELD]:
            self.kube.patch(path_of(item, plural, GROUP), {"metadata": {"finalizers": None}})

    def _on_change(self, event: str, prometheus: Object) -> None:
        if event == "DELETED" or "deletionTimestamp" in prometheus["metadata"]:
            return
        try:
            self._settle(prometheus)
        except httpx.HTTPStatusError as error:
            log.debug("%s: %s", error, error.response.text)

    def _settle(self, prometheus: Object) -> None:
        wanted = _stateful_set(prometheus)
        path = f"/apis/apps/v1/namespaces/{prometheus['metadata']['namespace']}/statefulsets"
        own = f"{path}/{wanted['metadata']['name']}"
        current = self.kube.get(own)
        if current is not None and _claims(current) == _claims(wanted):
            spec = {name: wanted["spec"][name] for name in ("replicas", "template")}
            self.kube.patch(own, {"spec": spec})
            return
        if current is not None:
            self.kube.delete(own, {"propagationPolicy": "Background"})
        self.kube.create(path, wanted)


def _stateful_set(prometheus: Object) -> Object:
    metadata, spec = prometheus["metadata"], prometheus["spec"]
    template = (spec.get("storage") or {}).get("volumeClaimTemplate")
    labels = {"app": "prometheus"}
    container = {
        "name": "prometheus",
        "image": "registry.example/prometheus:v3",
        "args": [f"--storage.tsdb.retention.time={spec.get('retention')}"],
    }
    return {
        "metadata": {
            "name": f"prometheus-{metadata['name']}",
            "ownerReferences": [
                {
                    "apiVersion": "monitoring.coreos.com/v1",
                    "kind": "Prometheus",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {
            "replicas": spec.get("replicas", 1),
            "serviceName": "prometheus-operated",
            "persistentVolumeClaimRetentionPolicy": spec.get("persistentVolumeClaimRetentionPolicy")
            or {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            "volumeClaimTemplates": [{"metadata": {"name": "db"}, **template}] if template else [],
        },
    }


def _claims(stateful_set: Object) -> list[Object]:
    """Return what is asked of each claim, without what the API server fills in."""
    return [
        {name: template["spec"].get(name) for name in ("storageClassName", "resources")}
        for template in stateful_set["spec"].get("volumeClaimTemplates") or ()
    ]
