"""A small client of the Kubernetes API, and watches on it that survive the API server's absence."""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

Object = dict[str, Any]
"""A Kubernetes object as JSON."""

STRATEGIC: Final = "application/strategic-merge-patch+json"
MERGE: Final = "application/merge-patch+json"
BUILT_IN: Final = ("kube-system", "kube-public", "kube-node-lease", "default")
log = logging.getLogger(__name__)


class Kube:
    """Requests with an administrator's token; safe to use from several threads."""

    def __init__(self, address: str, token: str, authority: Path) -> None:
        context = ssl.create_default_context(cafile=str(authority))
        self._client = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {token}"},
            verify=context,
            timeout=httpx.Timeout(30.0, read=60.0),
            limits=httpx.Limits(max_connections=32),
        )

    def close(self) -> None:
        self._client.close()

    def ready(self) -> bool:
        try:
            return self._client.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> Object | None:
        """Return an object or a list; None where there is none."""
        response = self._client.get(path)
        while response.status_code == 429:
            # A kind that was defined a moment ago is not served yet.
            time.sleep(0.2)
            response = self._client.get(path)
        if response.status_code == 404:
            return None
        response.raise_for_status()
        return dict(response.json())

    def text(self, path: str) -> str:
        """Return what is no JSON, such as a container's log."""
        response = self._client.get(path)
        response.raise_for_status()
        return response.text

    def items(self, path: str) -> list[Object]:
        """Return a list's items; none where the kind is not defined."""
        found = self.get(path)
        return list(found["items"]) if found else []

    def create(self, path: str, body: Object) -> Object:
        response = self._client.post(path, json=body)
        response.raise_for_status()
        return dict(response.json())

    def patch(self, path: str, body: Object, kind: str = MERGE) -> Object | None:
        """Change an object; None where it is gone."""
        response = self._client.patch(path, content=json.dumps(body), headers={"Content-Type": kind})
        if response.status_code == 404:
            return None
        response.raise_for_status()
        return dict(response.json())

    def delete(self, path: str, body: Object | None = None) -> None:
        """Delete an object; one that is gone, or another of the same name (409), is left alone."""
        response = self._client.request("DELETE", path, json=body or {})
        if response.status_code not in (404, 409):
            response.raise_for_status()

    def evict(self, pod: Object) -> None:
        """Ask for a pod's eviction, as a drain does; one that is gone is left alone.

        Source: Kubernetes, "API-initiated Eviction": the pod gets the condition DisruptionTarget; 429 where a
        disruption budget says not now.
        """
        metadata = {name: pod["metadata"][name] for name in ("name", "namespace")}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        response = self._client.post(f"{path_of(pod, 'pods')}/eviction", json=eviction)
        if response.status_code not in (404, 409, 429):
            response.raise_for_status()

    def objects(self) -> dict[str, Object]:
        """Return every object of every kind but what the control plane itself keeps, by `kind
        namespace/name`.

        Events, leases, endpoints, pods' controllers' revisions and the objects that every namespace gets
        are the control plane's own.
        """
        found: dict[str, Object] = {}
        for prefix, resource in self._resources():
            for item in self.items(f"{prefix}/{resource['name']}"):
                metadata = item["metadata"]
                space = metadata.get("namespace", "")
                if not _own_of_control_plane(resource["kind"], space, metadata["name"]):
                    found[f"{resource['kind']} {space}/{metadata['name']}"] = item
        return found

    def _resources(self) -> list[tuple[str, Object]]:
        groups = self.get("/apis")
        versions = ["/api/v1"]
        for group in (groups or {}).get("groups", ()):
            versions.append(f"/apis/{group['preferredVersion']['groupVersion']}")
        return [
            (prefix, resource)
            for prefix in versions
            for resource in (self.get(prefix) or {}).get("resources", ())
            if "list" in resource["verbs"] and "/" not in resource["name"]
        ]

    def watch(self, path: str, on_change: Callable[[str, Object], None], stop: threading.Event) -> None:
        """Call `on_change` with ADDED, MODIFIED or DELETED until `stop` is set; lists anew after any
        break.
        """
        known: dict[str, Object] = {}
        while not stop.is_set():
            try:
                self._watch_once(path, on_change, stop, known)
            except (httpx.HTTPError, json.JSONDecodeError, KeyError) as error:
                # A kind that is not defined (yet) is asked for less often than an API server that is away.
                undefined = isinstance(error, httpx.HTTPStatusError) and error.response.status_code == 404
                log.debug("watch %s: %r", path, error)
                stop.wait(1.0 if undefined else 0.2)

    def _watch_once(
        self,
        path: str,
        on_change: Callable[[str, Object], None],
        stop: threading.Event,
        known: dict[str, Object],
    ) -> None:
        response = self._client.get(path)
        response.raise_for_status()
        listed = response.json()
        now = {item["metadata"]["uid"]: item for item in listed["items"]}
        for uid in set(known) - set(now):
            on_change("DELETED", known.pop(uid))
        for uid, item in now.items():
            kind = "MODIFIED" if uid in known else "ADDED"
            known[uid] = item
            on_change(kind, item)
        version = listed["metadata"]["resourceVersion"]
        query = {
            "watch": "1",
            "resourceVersion": version,
            "timeoutSeconds": "60",
            "allowWatchBookmarks": "false",
        }
        with self._client.stream(
            "GET", path, params=query, timeout=httpx.Timeout(30.0, read=120.0)
        ) as stream:
            for line in stream.iter_lines():
                if stop.is_set():
                    return
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                item = event["object"]
                if event["type"] == "DELETED":
                    known.pop(item["metadata"]["uid"], None)
                else:
                    known[item["metadata"]["uid"]] = item
                on_change(event["type"], item)


def _own_of_control_plane(kind: str, space: str, name: str) -> bool:
    if kind in (
        "Event",
        "Lease",
        "Endpoints",
        "EndpointSlice",
        "ControllerRevision",
        "APIService",
        "IPAddress",
    ):
        return True
    if kind in (
        "FlowSchema",
        "PriorityLevelConfiguration",
        "ServiceCIDR",
        "ComponentStatus",
        "Node",
        "CSINode",
    ):
        return True
    if space in BUILT_IN or (kind == "Namespace" and name in BUILT_IN):
        return True
    if (kind, name) in (("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")):
        return True
    if kind == "PriorityClass" and name.startswith("system-"):
        return True
    return kind in ("ClusterRole", "ClusterRoleBinding") and is_built_in_role(name)


def is_built_in_role(name: str) -> bool:
    return name.startswith("system:") or name in ("admin", "edit", "view", "cluster-admin")


def label(item: Mapping[str, Any], name: str) -> str:
    """Return a label's value, empty where there is none."""
    return str((item["metadata"].get("labels") or {}).get(name, ""))


def path_of(item: Mapping[str, Any], plural: str, group: str = "/api/v1") -> str:
    """Return an object's path."""
    metadata = item["metadata"]
    space = metadata.get("namespace")
    return f"{group}/{f'namespaces/{space}/' if space else ''}{plural}/{metadata['name']}"
