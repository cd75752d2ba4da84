"""What can be seen of a pod on a node, whichever kubelet runs it, in words that do not depend on names."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.cluster.pods import ENDING, RESTARTING, RUNNING

Object = dict[str, Any]
Tree = Mapping[str, Mapping[str, str]]
LOOK_EVERY_S = 1.0


class Node(Protocol):
    """A node with one of the two kubelets."""

    patience_s: float

    def create(self, manifest: Object) -> None: ...

    def pod(self, name: str) -> Object | None: ...

    def log(self, name: str) -> str: ...

    def delete(self, name: str) -> None: ...

    def cgroups(self) -> Tree: ...


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One pod as it was seen."""

    facts: Mapping[str, object]
    """What its status says."""
    log: tuple[str, ...]
    pod_knobs: Mapping[str, str] = field(default_factory=dict)
    container_knobs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    paths: Mapping[str, str | None] = field(default_factory=dict)
    """Of the cgroups of the pod and of its containers, with UID and ID for what is each one's own."""


@dataclass(frozen=True, kw_only=True)
class Observations:
    """Everything that was seen on one node."""

    pods: Mapping[str, Seen]
    qos_knobs: Mapping[str, Mapping[str, str]]
    """Of the cgroups that hold the pods: `pods`, `burstable`, `besteffort`."""
    left: tuple[str, ...]
    """Cgroups of pods that were still there when their pods were gone."""


def observe(node: Node) -> Observations:
    """Run all pods on a node and look at each at its time."""
    seen: dict[str, Seen] = {}
    for manifest in (*RUNNING.values(), *ENDING.values(), *RESTARTING.values()):
        node.create(manifest)
    _wait(node, RUNNING, lambda name, pod: _runs(pod, RUNNING[name]))
    tree = node.cgroups()
    for name in RUNNING:
        seen[name] = _look(node, name, tree)
    qos = {level: dict(knobs) for path, knobs in tree.items() if (level := _level(path))}
    for name in RUNNING:
        node.delete(name)
    _wait(node, ENDING, lambda _name, pod: pod["status"].get("phase") in ("Succeeded", "Failed"))
    _wait(node, RESTARTING, lambda _name, pod: _restarts(pod) >= 1)
    for name in (*ENDING, *RESTARTING):
        seen[name] = _look(node, name, {})
        node.delete(name)
    everyone = [*RUNNING, *ENDING, *RESTARTING]
    deadline = time.monotonic() + node.patience_s
    while any(node.pod(name) for name in everyone) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
    left = tuple(path for path in node.cgroups() if not _level(path))
    return Observations(pods=seen, qos_knobs=qos, left=left)


def _wait(node: Node, names: Mapping[str, object], done: Callable[[str, Object], bool]) -> None:
    deadline, waiting = time.monotonic() + node.patience_s, set(names)
    while waiting:
        waiting -= {name for name in waiting if (pod := node.pod(name)) and done(name, pod)}
        if waiting and time.monotonic() > deadline:
            states = {name: (node.pod(name) or {}).get("status") for name in sorted(waiting)}
            raise AssertionError(f"not as expected after {node.patience_s:.0f} s: {states}")
        time.sleep(LOOK_EVERY_S)


def _runs(pod: Object, manifest: Object) -> bool:
    statuses = pod["status"].get("containerStatuses", ())
    started = [it for it in statuses if "running" in it["state"] and it.get("started")]
    probed = any("readinessProbe" in it for it in manifest["spec"]["containers"])
    unready = manifest["metadata"]["name"] == "not-ready"
    ready = unready or not probed or all(it["ready"] for it in statuses)
    return len(started) == len(manifest["spec"]["containers"]) and ready


def _restarts(pod: Object) -> int:
    return sum(it["restartCount"] for it in pod["status"].get("containerStatuses", ()))


def _look(node: Node, name: str, tree: Tree) -> Seen:
    pod = node.pod(name)
    assert pod is not None
    uid = pod["metadata"]["uid"]
    folder = next((path for path in tree if is_of(path, uid)), None)
    statuses = pod["status"].get("containerStatuses", ())
    ids = {it["name"]: it.get("containerID", "").rpartition("/")[2] for it in statuses}
    below = {path: knobs for path, knobs in tree.items() if folder and path.startswith(f"{folder}/")}
    path_of = {
        container: next((path for path in below if identity in path), None)
        for container, identity in ids.items()
        if identity
    }
    return Seen(
        facts=_facts(pod),
        # A container that never ran has none, and of several the API wants to know which.
        log=tuple(node.log(name).splitlines()) if len(ids) == 1 and all(ids.values()) else (),
        pod_knobs=tree.get(folder, {}) if folder else {},
        container_knobs={name: below[path] if path else {} for name, path in path_of.items()},
        paths={
            name: _without_names(path, uid, ids.get(name)) for name, path in {"": folder, **path_of}.items()
        },
    )


def _without_names(path: str | None, uid: str, identity: str | None) -> str | None:
    """Return a cgroup's path as it is of any pod and container like these."""
    if path is None:
        return None
    path = path.replace(uid, "UID").replace(uid.replace("-", "_"), "UID")
    return path.replace(identity, "ID") if identity else path


def _facts(pod: Object) -> dict[str, object]:
    status = pod["status"]
    return {
        "phase": status.get("phase"),
        "qosClass": status.get("qosClass"),
        "conditions": {it["type"]: it["status"] for it in status.get("conditions", ())},
        **{
            f"{kind} {it['name']}": _container(it)
            for kind in ("initContainerStatuses", "containerStatuses")
            for it in status.get(kind, ())
        },
    }


def _container(status: Object) -> dict[str, object]:
    """Return what of a container does not depend on when it was looked at.

    One that restarts may be seen as it waits, runs, or has just ended: only that it did is kept.
    """
    state: tuple[str, Object] = next(iter(status["state"].items()), ("none", {}))
    last = (status.get("lastState") or {}).get("terminated")
    if last:
        return {"restarted": True, "last": (last["exitCode"], last["reason"])}
    kind, about = state
    ended = (about["exitCode"], about["reason"]) if kind == "terminated" else about.get("reason")
    return {"state": kind, "about": ended, "ready": status["ready"], "started": status.get("started")}


def is_of(path: str, uid: str) -> bool:
    """Say whether a cgroup is the one of the pod with this uid, by either driver's name."""
    return (
        path.rpartition("/")[2].removesuffix(".slice").endswith((f"pod{uid}", f"pod{uid.replace('-', '_')}"))
    )


def _level(path: str) -> str | None:
    """Return which of the levels above the pods a cgroup is, by either driver's name; None for a pod's."""
    last = path.rpartition("/")[2].removesuffix(".slice")
    return {"kubepods": "pods"}.get(last) or {"burstable": "burstable", "besteffort": "besteffort"}.get(
        last.removeprefix("kubepods-")
    )
