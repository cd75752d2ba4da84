"""Make the observations: one twin, one controller, one service, and what happens to them in turn."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, cast

from drcio_controller.config import DEFAULT_CLASSES
from drcio_controller.ebs import Volume
from drcio_controller.kube.pod import QosClass
from experiments import workloads
from experiments.records.jsonfields import JsonObject, JsonValue
from experiments.records.spec import Spec, scenario
from experiments.response import figures
from experiments.response.figures import Look, Request, Targets
from experiments.targets import Progress
from experiments.targets.node import READY_TIMEOUT_S
from experiments.targets.twin import LP_FILE_SIZE, TwinTarget
from hp_service.manifest import PORT as HP_PORT
from load_generator.plan import Plan
from load_generator.schedule import Arrivals
from node_twin.errors import TwinError
from node_twin.guest.load import Answered
from node_twin.guest.sampler import CGROUP_ROOT
from node_twin.host.twin import Twin
from node_twin.kubelet.cgroups import pod_slice
from node_twin.layout import API_PORT, NAMESPACE, NODE_NAME

RATE_RPS: Final = 20.0
"""Of the service's load: often enough to see a tenth of a second."""
SETTLE_S: Final = 5.0
APART_S: Final = 12.0
"""Several times, between the batch job's starts: what the service takes changes with the hour."""
LP_FOR_S: Final = 12.0
PAUSE_S: Final = 8.0
CHANGED_FOR_S: Final = 50.0
SHARE_FOR_S: Final = 60.0
"""The lowest class does five I/Os a second here."""
REPEATS: Final = 3
FLIPS: Final = 100
"""The 99th percentile of fewer would be the slowest one of all."""

_REPOSITORY: Final = str(Path(__file__).resolve().parents[2])
_WATCHER: Final = "watcher"
_FLIPPER: Final = "flipper"
_SHARERS: Final = {"urgent": "high", "usual": "medium", "backup": "low"}
_SHARERS_DEPTH: Final = 64
"""An eighth of a second of the volume: who comes late to ask for more does not saturate."""
_RESOURCES: Final[Mapping[str, Mapping[str, JsonValue]]] = {
    # Guaranteed, burstable, best effort: shares must hold wherever a pod sits.
    "urgent": {"requests": {"cpu": "1", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
    "usual": {"requests": {"cpu": "100m"}},
    "backup": {},
}


def response_spec(volume: Volume) -> Spec:
    """Return what of an experiment's specification applies here: the volume, the load, the batch job."""
    return Spec(
        scenarios=(scenario("drcio"),),
        load_level="custom",
        rate_rps=RATE_RPS,
        duration_s=LP_FOR_S,
        warmup_s=SETTLE_S,
        repeats=REPEATS,
        volume=volume,
        lp_block_bytes=1 << 20,
        lp_workers=32,
        seed=1,
        arrivals="constant",
    )


class Session:
    """The twin with its controller and load, and the log of what was done when."""

    def __init__(self, target: TwinTarget, spec: Spec, progress: Progress) -> None:
        self.twin = target.twin
        self.spec = spec
        self.progress = progress
        self.events: list[JsonObject] = []
        self._plan = Plan(
            url=f"http://127.0.0.1:{HP_PORT}/score",
            rate_rps=RATE_RPS,
            duration_s=1.0,  # a plan has one; this load ends when it is told to
            ids_max=target.ids_max,
            arrivals=Arrivals.CONSTANT,
        )
        self._sent: list[Request] = []

    @contextlib.contextmanager
    def loaded(self) -> Iterator[None]:
        """Send requests at a constant rate for as long as the context lasts."""
        plan = {**asdict(self._plan), "arrivals": self._plan.arrivals.value}
        with self.twin.exact():
            self.twin.stream({"op": "begin", "plan": plan})
            try:
                yield
            finally:
                self._sent = _requests(self.twin.stream({"op": "end"}))

    def hold(self, *, held: bool) -> None:
        """Send no requests for a while, or go on."""
        self.twin.stream({"op": "hold", "held": held})

    def mark(self, what: str) -> float:
        """Note that something was done now; return when, by the guest's clock."""
        now_s = self.twin.now_s()
        self.events.append({"t_s": now_s, "what": what})
        self.progress.doing(what)
        return now_s

    def start_lp(self, claim: str) -> str:
        """Start the batch job and return the name of its cgroup; does not wait for it."""
        batch = workloads.batch_job(
            self.spec, namespace=NAMESPACE, node=NODE_NAME, file_size=LP_FILE_SIZE, claim=claim
        )
        self.twin.create_pod(batch.manifest)
        return cgroup_of(self.twin, workloads.LP_POD).name

    def stop_lp(self) -> None:
        self.twin.delete_pod(workloads.LP_POD)

    def looks(self) -> list[Look]:
        """Return everything that the watcher has seen until now."""
        looks = []
        for line in self.twin.log(_WATCHER).splitlines():
            try:
                document = json.loads(line)
            except ValueError:
                continue  # the line being written
            looks.append(Look(document["t_s"], document["pods"]))
        return looks

    def requests(self, start_s: float, end_s: float) -> list[Request]:
        """Return the requests due in a window of the guest's clock that have been answered."""
        seen = self._sent or _requests(self.twin.stream({"op": "seen"}))
        return figures.within(seen, start_s, end_s)

    def run_pod(self, name: str, command: Sequence[str], *, timeout_s: float) -> str:
        """Run a pod to its end and return its log."""
        self.twin.create_pod(_helper(name, command))
        phase = self.twin.wait_ended(name, timeout_s=timeout_s)
        log = self.twin.log(name)
        self.twin.delete_pod(name)
        if phase == "Failed":
            raise TwinError(f"pod {name} failed\n{log[-1500:]}")
        return log


def _requests(answer: JsonObject) -> list[Request]:
    return [
        Request(due_s, math.inf, math.inf)
        if latency_ms is None or fetch_ms is None
        else Request(due_s, latency_ms, fetch_ms)
        for due_s, latency_ms, fetch_ms in cast("Sequence[Answered]", answer["requests"])
    ]


def respond(on: TwinTarget, spec: Spec, changed: Volume, progress: Progress) -> JsonObject:
    """Put a node through everything that a controller has to react to; return figures and raw data.

    The twin has a second volume (`lp_elsewhere`). What the service takes beside a batch job there is what
    I/O control can at best make of it: the batch job takes CPU all the same.
    """
    session = Session(on, spec, progress)
    twin = session.twin
    twin.create_pod(_helper(_WATCHER, ["watch"]))
    twin.wait_ready(_WATCHER, timeout_s=READY_TIMEOUT_S)
    full_mib_s = _device_speed(session)

    on.node.start_controller("drcio")
    with session.loaded():
        session.twin.wait(SETTLE_S)
        starts, apart = _lp_starts(session)
        target = figures.targets(apart)
        if target is None:
            raise TwinError(
                "the service answered nothing", hint="look at the pods' logs in the output folder"
            )
        found: dict[str, JsonValue] = {
            "device_speed_mib_s": full_mib_s,
            "target_ms": {"request": target.request_ms, "fetch": target.fetch_ms},
            "back_in_target_s": [
                figures.inside_after_s(session.requests(first_io_s, ended_s), first_io_s, target)
                for first_io_s, ended_s in starts
            ],
            **_hp_stops(session, target, full_mib_s),
            "volume_changes": [
                _volume_changes(session, changed, target),
                _volume_changes(session, spec.volume, target),
            ],
        }
        session.mark("the service stops")
    found["label_to_weight_ms"] = _labels(session)
    session.stop_lp()
    found["share_errors"] = cast(JsonValue, _shares(session))
    looks = session.looks()
    twin.delete_pod(workloads.CONTROLLER_POD)
    twin.delete_pod(_WATCHER)
    return {
        "schema": "drcio.response/1",
        "spec": spec.to_json(),
        "figures": found,
        "events": cast(JsonValue, session.events),
        "requests": cast(
            JsonValue,
            [
                {name: _or_none(value) for name, value in one._asdict().items()}
                for one in session.requests(0.0, math.inf)
            ],
        ),
        "looks": cast(JsonValue, [{"t_s": look.t_s, "pods": dict(look.pods)} for look in looks]),
    }


def cgroup_of(twin: Twin, name: str) -> Path:
    """Return a pod's cgroup folder in the guest."""
    pod = cast("Mapping[str, Mapping[str, str]]", twin.pod(name) or {})
    return CGROUP_ROOT / pod_slice(QosClass(pod["status"]["qosClass"]), pod["metadata"]["uid"])


def _device_speed(session: Session) -> float:
    session.mark("the batch job alone, without a controller")
    lp, _ = _flowing_lp(session)
    begun_s = session.twin.wait(2.0)
    ended_s = session.twin.wait(PAUSE_S)
    speed_mib_s = figures.mib_s(session.looks(), lp, begun_s, ended_s)
    session.stop_lp()
    if not speed_mib_s:
        raise TwinError("the batch job did no I/O", hint="look at its log in the output folder")
    return speed_mib_s


def _flowing_lp(session: Session, claim: str = workloads.DATA_CLAIM) -> tuple[str, float]:
    """Start the batch job; return its cgroup's name and when its first I/O was seen."""
    lp = session.start_lp(claim)
    return lp, _wait_until_moved(session, workloads.LP_POD, 1)


def _wait_until_moved(session: Session, pod: str, size_bytes: int) -> float:
    """Wait until a pod has read and written so much; return when that was first seen."""
    moved_s = session.twin.wait_moved(pod, size_bytes, timeout_s=READY_TIMEOUT_S)
    if moved_s is None:
        raise TwinError(f"{pod} ended before it had moved {size_bytes} bytes")
    return moved_s


def _lp_starts(session: Session) -> tuple[list[tuple[float, float]], list[Request]]:
    """Start the batch job next to the loaded service, a few times; return when it did I/O.

    And every request that was sent while the batch job ran on a volume of its own, before, between and after.
    """
    starts = []
    apart = _apart(session)
    for _ in range(REPEATS):
        session.mark("the batch job starts")
        _, first_io_s = _flowing_lp(session)
        starts.append((first_io_s, session.twin.wait(LP_FOR_S)))
        session.stop_lp()
        session.twin.wait(SETTLE_S)
        apart += _apart(session)
    return starts, apart


def _apart(session: Session) -> list[Request]:
    """Let the batch job take its share of everything but the service's volume."""
    session.mark("the batch job runs on a volume of its own")
    _flowing_lp(session, claim=workloads.OTHER_CLAIM)
    begun_s = session.twin.wait(SETTLE_S)
    requests = session.requests(begun_s, session.twin.wait(APART_S))
    session.stop_lp()
    session.twin.wait(SETTLE_S)
    return requests


def _hp_stops(session: Session, target: Targets, full_mib_s: float) -> dict[str, JsonValue]:
    """Hold the load and let it go on, a few times, with the batch job running."""
    lp, _ = _flowing_lp(session)
    session.twin.wait(LP_FOR_S)
    times = []
    for _ in range(REPEATS):
        session.hold(held=True)
        held_s = session.mark("high priority stops")
        session.twin.wait(PAUSE_S)
        session.hold(held=False)
        resumed_s = session.mark("high priority comes back")
        times.append((held_s, resumed_s, session.twin.wait(LP_FOR_S)))
    looks = session.looks()
    return {
        "lp_at_full_speed_s": [
            figures.full_speed_after_s(looks, lp, held_s, resumed_s, full_mib_s)
            for held_s, resumed_s, _ in times
        ],
        "hp_back_in_target_s": [
            figures.inside_after_s(session.requests(resumed_s, ended_s), resumed_s, target)
            for _, resumed_s, ended_s in times
        ],
    }


def _volume_changes(session: Session, volume: Volume, target: Targets) -> JsonObject:
    """Give the volume other limits under way; its full speed is measured last, without high priority."""
    lp = cgroup_of(session.twin, workloads.LP_POD).name
    session.twin.set_limits(workloads.DATA_CLAIM, iops=volume.iops, mib_s=volume.mib_s)
    begun_s = session.mark(f"the volume becomes {volume}")
    ended_s = session.twin.wait(CHANGED_FOR_S)
    session.hold(held=True)
    session.mark("high priority stops, for the new volume's full speed")
    measured_s = session.twin.wait(PAUSE_S / 2)
    until_s = session.twin.wait(PAUSE_S)
    session.hold(held=False)
    session.mark("high priority comes back")
    session.twin.wait(SETTLE_S)
    looks = session.looks()
    full_mib_s = figures.mib_s(looks, lp, measured_s, until_s)
    return {
        "volume": str(volume),
        "device_speed_mib_s": full_mib_s,
        "hp_inside_after_s": figures.inside_after_s(
            session.requests(begun_s, ended_s), begun_s, target, run_of=figures.SETTLED_RUN_OF
        ),
        "lp_settled_after_s": None
        if full_mib_s is None
        else figures.settled_after_s(looks, lp, begun_s, ended_s, full_mib_s),
    }


def _labels(session: Session) -> JsonObject:
    session.mark("the batch job's label changes back and forth")
    pod_url = f"http://127.0.0.1:{API_PORT}/api/v1/namespaces/{NAMESPACE}/pods/{workloads.LP_POD}"
    command = [
        *("flip", f"--pod-url={pod_url}", f"--cgroup={cgroup_of(session.twin, workloads.LP_POD)}"),
        *("--classes=medium,low", f"--count={FLIPS}"),
    ]
    lines = [json.loads(line) for line in session.run_pod(_FLIPPER, command, timeout_s=300).splitlines()]
    took_ms = [
        (line["applied_s"] - line["asked_s"]) * 1000 if line["changed"] else math.inf for line in lines
    ]
    return {
        "count": len(took_ms),
        "p50": _or_none(figures.percentile(took_ms, 0.5)),
        "p99": _or_none(figures.percentile(took_ms, 0.99)),
        "all": [_or_none(took) for took in took_ms],
        "of_it_api_server": [(line["answered_s"] - line["asked_s"]) * 1000 for line in lines],
    }


def _or_none(value: float | None) -> float | None:
    """Return the value, or None for one that JSON has no number for: what never happened."""
    return value if value is not None and math.isfinite(value) else None


def _shares(session: Session) -> dict[str, float] | None:
    """Let pods of three classes in three QoS classes saturate the volume together."""
    session.mark("three classes in three QoS classes saturate the volume")
    names = {}
    for name in reversed(_SHARERS):  # the lightest first: beside the others its file would take a minute
        manifest = workloads.saturating(
            name,
            _SHARERS[name],
            resources=_RESOURCES[name],
            depth=_SHARERS_DEPTH,
            namespace=NAMESPACE,
            node=NODE_NAME,
        )
        session.twin.create_pod(manifest)
        names[name] = cgroup_of(session.twin, name).name
        _wait_until_moved(session, name, 2 * workloads.SATURATING_FILE_BYTES)
    begun_s = session.twin.wait(SETTLE_S * 2)
    ended_s = session.twin.wait(SHARE_FOR_S)
    weights = {names[name]: DEFAULT_CLASSES[priority].weight for name, priority in _SHARERS.items()}
    errors = figures.share_errors(session.looks(), weights, begun_s, ended_s)
    for name in _SHARERS:
        session.twin.delete_pod(name)
    return None if errors is None else {name: errors[cgroup] for name, cgroup in names.items()}


def _helper(name: str, arguments: Sequence[str]) -> JsonObject:
    return {
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "nodeName": NODE_NAME,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": name,
                    "command": ["python", "-m", "node_twin.guest.watcher", *arguments],
                    "workingDir": _REPOSITORY,
                }
            ],
        },
    }
