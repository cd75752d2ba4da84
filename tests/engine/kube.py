"""What the stand-ins ask of the API server, and watches that survive its absence."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import httpx

from local_cluster.control_plane import ControlPlane
from local_cluster.kube import Kube, Object
from tests.waits import wait_until

STRATEGIC: Final = "application/strategic-merge-patch+json"
BUILT_IN: Final = ("kube-system", "kube-public", "kube-node-lease", "default")
log = logging.getLogger(__name__)


def evict(kube: Kube, pod: Object) -> None:
    """Ask for a pod's eviction, as a drain does; one that is gone is left alone.

    Source: Kubernetes, "API-initiated Eviction": the pod gets the condition DisruptionTarget; 429 where a
    disruption budget says not now.
    """
    metadata = {name: pod["metadata"][name] for name in ("name", "namespace")}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    response = kube.client.post(f"{path_of(pod, 'pods')}/eviction", json=eviction)
    if response.status_code not in (404, 409, 429):
        response.raise_for_status()


def objects(kube: Kube) -> dict[str, Object]:
    """Return every object of every kind but what the control plane itself keeps, by `kind
    namespace/name`.

    Events, leases, endpoints, pods' controllers' revisions and the objects that every namespace gets
    are the control plane's own.
    """
    found: dict[str, Object] = {}
    for prefix, resource in _resources(kube):
        for item in kube.items(f"{prefix}/{resource['name']}"):
            metadata = item["metadata"]
            space = metadata.get("namespace", "")
            if not _own_of_control_plane(resource["kind"], space, metadata["name"]):
                found[f"{resource['kind']} {space}/{metadata['name']}"] = item
    return found


def _resources(kube: Kube) -> list[tuple[str, Object]]:
    groups = kube.get("/apis")
    versions = ["/api/v1"]
    for group in (groups or {}).get("groups", ()):
        versions.append(f"/apis/{group['preferredVersion']['groupVersion']}")
    return [
        (prefix, resource)
        for prefix in versions
        for resource in (kube.get(prefix) or {}).get("resources", ())
        if "list" in resource["verbs"] and "/" not in resource["name"]
    ]


def watch(kube: Kube, path: str, on_change: Callable[[str, Object], None], stop: threading.Event) -> None:
    """Call `on_change` with ADDED, MODIFIED or DELETED until `stop` is set; lists anew after any
    break.
    """
    known: dict[str, Object] = {}
    while not stop.is_set():
        try:
            _watch_once(kube, path, on_change, stop, known)
        except (httpx.HTTPError, json.JSONDecodeError, KeyError) as error:
            # A kind that is not defined (yet) is asked for less often than an API server that is away.
            undefined = isinstance(error, httpx.HTTPStatusError) and error.response.status_code == 404
            log.debug("watch %s: %r", path, error)
            stop.wait(1.0 if undefined else 0.2)


def _watch_once(
    kube: Kube,
    path: str,
    on_change: Callable[[str, Object], None],
    stop: threading.Event,
    known: dict[str, Object],
) -> None:
    response = kube.client.get(path)
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
    with kube.client.stream("GET", path, params=query, timeout=httpx.Timeout(30.0, read=120.0)) as stream:
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


@contextlib.contextmanager
def api_server_away(plane: ControlPlane) -> Iterator[None]:
    """Nothing answers at the API server's address within the block; it is ready again after it."""
    api_server = plane.processes["kube-apiserver"]
    api_server.stop(grace_s=0.5)
    try:
        yield
    finally:
        api_server.start()
        assert wait_until(plane.kube.ready), plane.logs()
