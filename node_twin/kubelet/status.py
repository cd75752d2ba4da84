"""What the API shows of a pod: phase, conditions, one entry per container."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from drcio_controller.kube.jsontypes import Json, JsonObject
from drcio_controller.kube.pod import QosClass

from .manifest import ContainerSpec, PodManifest, RestartPolicy
from .restarts import restarts

_ADDRESS: Final = "127.0.0.1"
"""All pods are on the node's network."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not running, but going to."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """Its process runs."""

    since_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class Terminated:
    """Its process has ended."""

    exit_code: int
    reason: str
    started_s: float
    finished_s: float
    container_id: str
    message: str = ""


ContainerState = Waiting | Running | Terminated


@dataclass(slots=True)
class ContainerRecord:
    """One container's fortunes; the worker writes it, the status shows it."""

    spec: ContainerSpec
    state: ContainerState = field(default_factory=lambda: Waiting("ContainerCreating"))
    last: Terminated | None = None
    """How it ended the time before."""
    container_id: str = ""
    restart_count: int = 0
    started: bool = False
    """Running and past its startup probe."""
    ready: bool = False


def phase(
    policy: RestartPolicy, init: list[ContainerRecord], main: list[ContainerRecord], *, stopping: bool
) -> str:
    """Return the pod's phase (kubelet: getPhase)."""
    for record in init:
        if isinstance(record.state, Terminated):
            if record.state.exit_code == 0:
                continue
            if policy is RestartPolicy.NEVER or stopping:
                return "Failed"
        return "Pending"
    ended = [record.state for record in main if isinstance(record.state, Terminated)]
    if len(ended) == len(main) and (stopping or not any(restarts(policy, each.exit_code) for each in ended)):
        return "Succeeded" if all(each.exit_code == 0 for each in ended) else "Failed"
    waiting = any(isinstance(record.state, Waiting) and record.last is None for record in main)
    return "Pending" if waiting else "Running"


def pod_status(
    manifest: PodManifest,
    qos: QosClass,
    init: list[ContainerRecord],
    main: list[ContainerRecord],
    *,
    start_time_s: float,
    stopping: bool,
) -> JsonObject:
    """Return the pod's `status`."""
    current = phase(manifest.restart_policy, init, main, stopping=stopping)
    initialized = all(_succeeded(record) for record in init)
    ready = current == "Running" and all(record.ready for record in main)
    conditions: list[Json] = [
        {"type": kind, "status": "True" if holds else "False"}
        for kind, holds in (
            ("PodReadyToStartContainers", current in ("Pending", "Running")),
            ("PodScheduled", True),
            ("Initialized", initialized),
            ("ContainersReady", ready),
            ("Ready", ready),
        )
    ]
    return {
        "phase": current,
        "qosClass": qos.value,
        "hostIP": _ADDRESS,
        "podIP": _ADDRESS,
        "podIPs": [{"ip": _ADDRESS}],
        "startTime": timestamp(start_time_s),
        "conditions": conditions,
        "initContainerStatuses": [
            {**_container_status(record), "ready": _succeeded(record)} for record in init
        ],
        "containerStatuses": [_container_status(record) for record in main],
    }


def _succeeded(record: ContainerRecord) -> bool:
    return isinstance(record.state, Terminated) and record.state.exit_code == 0


def timestamp(unix_s: float) -> str:
    """Return a time as RFC 3339."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _container_status(record: ContainerRecord) -> JsonObject:
    status: JsonObject = {
        "name": record.spec.name,
        "image": record.spec.image,
        "imageID": record.spec.image,
        "ready": record.ready,
        "started": record.started,
        "restartCount": record.restart_count,
        "state": _state(record.state),
        "lastState": _state(record.last) if record.last else {},
    }
    if record.container_id:
        status["containerID"] = f"containerd://{record.container_id}"
    return status


def _state(state: ContainerState) -> JsonObject:
    match state:
        case Waiting(reason, message):
            return {"waiting": {"reason": reason, "message": message}}
        case Running(since_s):
            return {"running": {"startedAt": timestamp(since_s)}}
        case Terminated():
            return {
                "terminated": {
                    "exitCode": state.exit_code,
                    "reason": state.reason,
                    "message": state.message,
                    "startedAt": timestamp(state.started_s),
                    "finishedAt": timestamp(state.finished_s),
                    "containerID": f"containerd://{state.container_id}",
                }
            }
