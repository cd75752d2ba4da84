"""Stand-in nodes: they run nothing, but take the pods that they are given through a pod's life.

A pod on one of them becomes Running and Ready, or does not, as `Life` says; a Job's pod ends as told; a pod
that is deleted goes after a while, as a kubelet takes its time to stop containers. Everything else is the
real control plane's: scheduling, controllers, finalizers, garbage collection.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any, Final

import httpx

from local_cluster.errors import PlaneError
from local_cluster.kube import Kube, Object
from local_cluster.processes import PATIENCE_S
from tests.engine.kube import STRATEGIC, evict, label, path_of, watch
from tests.waits import wait_until

START_S: Final = 0.15
"""From being scheduled to running."""
STOP_S: Final = 0.4
"""From being deleted to being gone: long enough that who doesn't wait is seen."""
CAPACITY: Final = {"cpu": "16", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"}
STAMP: Final = "%Y-%m-%dT%H:%M:%SZ"
HELD_FOR: Final = timedelta(minutes=1)
log = logging.getLogger(__name__)


class End(Enum):
    """How a pod's containers end."""

    RUN = auto()
    """They don't: a service, or a job that hangs."""
    SUCCEED = auto()
    FAIL = auto()
    EVICT = auto()
    """The node ran out of something."""
    NO_IMAGE = auto()
    """They never start: ImagePullBackOff."""


@dataclass(frozen=True, kw_only=True)
class Life:
    """What becomes of one pod."""

    end: End = End.RUN
    after_s: float = 0.1
    """From running to its end."""
    before_end: Callable[[Object], None] | None = None
    """What the container does before it ends, such as to publish a result; called once, on its own thread."""


@dataclass
class Span:
    """When a pod ran, on the bench's monotonic clock."""

    name: str
    namespace: str
    app: str
    started: float
    ended: float | None = None


@dataclass
class Nodes:
    """The nodes of one cluster; one thread watches its pods, another acts when their time has come."""

    kube: Kube
    life_of: Callable[[Object], Life] = lambda pod: Life()
    """Asked once for each pod, when it is about to start."""
    holds: Callable[[Object], bool] = lambda pod: False
    """Whether a pod that is told to stop goes on for now; asked until it does not, or its grace is over."""
    spans: list[Span] = field(default_factory=list)
    """Every pod that ran, in order."""
    owners: set[str] = field(default_factory=set)
    """The uids of what has had a pod here."""
    stop_s: float = STOP_S
    _attached: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    """The nodes of a claim's running users, by the users' uids."""
    _names: dict[str, Object] = field(default_factory=dict)
    _seen: dict[str, str] = field(default_factory=dict)
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _wake: threading.Condition = field(default_factory=threading.Condition)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _addresses: itertools.count[int] = field(default_factory=lambda: itertools.count(2))

    def start(self) -> None:
        pods = threading.Thread(
            target=watch, args=(self.kube, "/api/v1/pods", self._on_pod, self._stop), daemon=True
        )
        self._threads = [pods, threading.Thread(target=self._act, daemon=True)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        with self._wake:
            self._wake.notify()

    def add(
        self, name: str, *, zone: str, labels: Mapping[str, str], taints: list[Object] | None = None
    ) -> None:
        """Register a node that is ready at once."""
        node: Object = {
            "metadata": {
                "name": name,
                "labels": {
                    **labels,
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "topology.kubernetes.io/zone": zone,
                    "topology.ebs.csi.aws.com/zone": zone,
                },
            },
            "spec": {"taints": taints or []},
        }
        self._names[name] = self.kube.create("/api/v1/nodes", node)
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", **_now()}
        status = {"capacity": CAPACITY, "allocatable": CAPACITY, "conditions": [ready]}
        self.kube.patch(f"/api/v1/nodes/{name}/status", {"status": status}, STRATEGIC)
        # The real controller manager taints a node until it has seen it ready.
        if not wait_until(lambda: not self._not_ready(name), every_s=0.05):
            raise PlaneError(f"node {name} still has the taint of one that is not ready")

    def change(self, name: str, *, labels: Mapping[str, str], taints: list[Object]) -> None:
        """Set a node's own labels and taints, as EKS does in place."""
        self.kube.patch(
            f"/api/v1/nodes/{name}", {"metadata": {"labels": dict(labels)}, "spec": {"taints": taints}}
        )

    def remove(self, name: str, drain_s: float = PATIENCE_S) -> None:
        """Drain a node and take it away, as a managed node group does.

        Source: EKS user guide, "Understand each phase of node updates": pods are evicted, DaemonSets' stay.
        """
        self.kube.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
        deadline = time.monotonic() + drain_s
        while time.monotonic() < deadline:
            pods = [pod for pod in self._pods_on(name) if not _of_daemon_set(pod)]
            if not pods:
                break
            for pod in pods:
                if "deletionTimestamp" not in pod["metadata"]:
                    evict(self.kube, pod)
            time.sleep(0.1)
        self.kube.delete(f"/api/v1/nodes/{name}")
        self._names.pop(name, None)
        for pod in self._pods_on(name):
            self.kube.delete(path_of(pod, "pods"), {"gracePeriodSeconds": 0})
            self._ended(pod)

    def ran_since(self, moment: float) -> set[str]:
        """Return the apps of the pods that ran at any time since a moment of the monotonic clock."""
        return {span.app for span in self.spans if span.app and (span.ended is None or span.ended > moment)}

    @property
    def names(self) -> list[str]:
        return sorted(self._names)

    def zone_of(self, name: str) -> str:
        return label(self._names[name], "topology.kubernetes.io/zone")

    def _pods_on(self, node: str) -> list[Object]:
        return self.kube.items(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}")

    def _not_ready(self, name: str) -> bool:
        node = self.kube.get(f"/api/v1/nodes/{name}") or {"spec": {}}
        return any(it["key"].startswith("node.kubernetes.io/") for it in node["spec"].get("taints", ()))

    def _at(self, delay_s: float, act: Callable[[], None]) -> None:
        with self._wake:
            heapq.heappush(self._due, (time.monotonic() + delay_s, next(self._order), act))
            self._wake.notify()

    def _act(self) -> None:
        while not self._stop.is_set():
            with self._wake:
                now = time.monotonic()
                if not self._due or self._due[0][0] > now:
                    self._wake.wait(self._due[0][0] - now if self._due else None)
                    continue
                _, _, act = heapq.heappop(self._due)
            try:
                act()
            except httpx.HTTPStatusError as error:
                log.debug("%s: %s", error, error.response.text)
            except httpx.HTTPError:
                # The API server is away: a kubelet tries again until it is back.
                self._at(0.5, act)

    def _on_pod(self, event: str, pod: Object) -> None:
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        if node not in self._names:
            return
        if event == "DELETED":
            self._ended(pod)
            self._seen.pop(uid, None)
        elif "deletionTimestamp" in pod["metadata"]:
            if self._seen.get(uid) != "stopping":
                self._seen[uid] = "stopping"
                grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
                killed_at = time.monotonic() + grace
                self._at(min(self.stop_s, grace), lambda: self._stopping(pod, killed_at))
        elif uid not in self._seen:
            self._seen[uid] = "starting"
            self.owners |= {owner["uid"] for owner in pod["metadata"].get("ownerReferences", ())}
            if pod["status"].get("phase") == "Pending":
                self._at(START_S, lambda: self._start(pod))

    def _start(self, pod: Object) -> None:
        if self._seen.get(pod["metadata"]["uid"]) != "starting":
            return
        if not self._attach(pod):
            self._at(0.2, lambda: self._start(pod))
            return
        life = self.life_of(pod)
        if life.end is End.NO_IMAGE:
            self._status(pod, _waiting(pod))
            return
        if self._status(pod, _running(pod, f"10.244.0.{next(self._addresses) % 250 + 2}")) is None:
            self._ended(pod)
            return
        metadata = pod["metadata"]
        self.spans.append(Span(metadata["name"], metadata["namespace"], label(pod, "app"), time.monotonic()))
        if life.end is not End.RUN:
            self._at(life.after_s, lambda: self._end_of(pod, life))

    def _attach(self, pod: Object) -> bool:
        """Attach a pod's volumes to its node, unless a pod on another node has one of them.

        Source: Kubernetes, "Persistent Volumes", access mode ReadWriteOnce: by a single node; the
        attach-detach controller's event on the pod that waits is "Multi-Attach error".
        """
        uid, node = pod["metadata"]["uid"], pod["spec"]["nodeName"]
        space = pod["metadata"]["namespace"]
        users = [self._attached.setdefault((space, claim), {}) for claim in _claims(pod)]
        if any(other != node for those in users for other in list(those.values())):
            return False
        for those in users:
            those[uid] = node
        return True

    def _end_of(self, pod: Object, life: Life) -> None:
        if self._seen.get(pod["metadata"]["uid"]) != "starting":
            return
        if life.before_end is None:
            self._finish(pod, life.end)
            return

        def work() -> None:
            life.before_end(pod)  # type: ignore[misc]  # it is not None here
            self._at(0.0, lambda: self._finish(pod, life.end))

        threading.Thread(target=work, daemon=True).start()

    def _finish(self, pod: Object, end: End) -> None:
        self._status(pod, _ended(pod, end))
        self._ended(pod)

    def _stopping(self, pod: Object, killed_at: float) -> None:
        if self.holds(pod) and time.monotonic() < killed_at:
            self._at(0.2, lambda: self._stopping(pod, killed_at))
        else:
            self._remove(pod)

    def _remove(self, pod: Object) -> None:
        """Stop the containers, report it, and let the object go: as kubelets do."""
        live = self.kube.get(path_of(pod, "pods"))
        if live is None or live["metadata"]["uid"] != pod["metadata"]["uid"]:
            return
        if live["status"].get("phase") in ("Pending", "Running"):
            self._status(pod, _ended(pod, End.FAIL))
        self._ended(pod)
        self.kube.delete(
            path_of(pod, "pods"),
            {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}},
        )

    def _status(self, pod: Object, status: Object) -> Object | None:
        patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        return self.kube.patch(f"{path_of(pod, 'pods')}/status", patch, STRATEGIC)

    def _ended(self, pod: Object) -> None:
        metadata = pod["metadata"]
        for claim in _claims(pod):
            self._attached.get((metadata["namespace"], claim), {}).pop(metadata["uid"], None)
        for span in self.spans:
            if span.ended is None and (span.namespace, span.name) == (
                metadata["namespace"],
                metadata["name"],
            ):
                span.ended = time.monotonic()


def _now() -> Object:
    stamp = datetime.now(UTC).strftime(STAMP)
    return {"lastTransitionTime": stamp, "lastHeartbeatTime": stamp}


def _conditions(**states: bool) -> list[Object]:
    """Return conditions that have held for a while: what waits for `minReadySeconds` need not wait here."""
    since = (datetime.now(UTC) - HELD_FOR).strftime(STAMP)
    return [
        {"type": name, "status": str(state), "lastTransitionTime": since} for name, state in states.items()
    ]


def _claims(pod: Object) -> list[str]:
    return [
        it["persistentVolumeClaim"]["claimName"]
        for it in pod["spec"].get("volumes", ())
        if "persistentVolumeClaim" in it
    ]


def _containers(pod: Object, kind: str) -> list[Object]:
    return list(pod["spec"].get(kind, ()))


def _one_status(container: Object, state: Object, *, ready: bool) -> Object:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": container["image"],
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": state,
    }


def _init_done(pod: Object, *, sidecars_run: bool) -> list[Object]:
    done = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    return [
        _one_status(
            container,
            {"running": {}} if sidecars_run and container.get("restartPolicy") == "Always" else done,
            ready=True,
        )
        for container in _containers(pod, "initContainers")
    ]


def _running(pod: Object, address: str) -> Object:
    stamp = _now()["lastTransitionTime"]
    return {
        "phase": "Running",
        "startTime": stamp,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": _conditions(Initialized=True, ContainersReady=True, Ready=True),
        "initContainerStatuses": _init_done(pod, sidecars_run=True),
        "containerStatuses": [
            _one_status(container, {"running": {"startedAt": stamp}}, ready=True)
            for container in _containers(pod, "containers")
        ],
    }


def _waiting(pod: Object) -> Object:
    why = {"reason": "ImagePullBackOff", "message": "Back-off pulling image: not found in the registry"}
    first = "initContainers" if _containers(pod, "initContainers") else "containers"
    statuses = {
        "initContainers": "initContainerStatuses",
        "containers": "containerStatuses",
    }
    return {
        "phase": "Pending",
        "startTime": _now()["lastTransitionTime"],
        "conditions": _conditions(Initialized=False, ContainersReady=False, Ready=False),
        statuses[first]: [
            _one_status(container, {"waiting": why}, ready=False) for container in _containers(pod, first)
        ],
    }


def _ended(pod: Object, end: End) -> Object:
    failed = end is not End.SUCCEED
    state = {
        "terminated": {
            "exitCode": 1 if failed else 0,
            "reason": "Error" if failed else "Completed",
            "finishedAt": _now()["lastTransitionTime"],
        }
    }
    status: dict[str, Any] = {
        "phase": "Failed" if failed else "Succeeded",
        "conditions": _conditions(ContainersReady=False, Ready=False),
        "containerStatuses": [
            _one_status(container, state, ready=False) for container in _containers(pod, "containers")
        ],
    }
    if end is End.EVICT:
        status |= {"reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."}
        status["conditions"] += _conditions(DisruptionTarget=True)
    return status


def _of_daemon_set(pod: Object) -> bool:
    return any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", ()))
