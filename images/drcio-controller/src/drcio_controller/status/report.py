"""Count what happened, and put what is known into one status value."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from drcio_controller.config import Engine, VolumeProfile
from drcio_controller.engines import bfq, iomax
from drcio_controller.instance import InstanceLimit
from drcio_controller.kernel.devices import Device
from drcio_controller.kernel.knob import Knob
from drcio_controller.kernel.parse import DeviceId, IoStat
from drcio_controller.law.decision import Decision
from drcio_controller.law.roles import roles
from drcio_controller.observe import Snapshot
from drcio_controller.pods.mapping import Hierarchy
from drcio_controller.pods.nodepod import NodePod
from drcio_controller.pods.weights import Member, device_weights, shares
from drcio_controller.status.model import (
    DeviceStatus,
    Effect,
    InstanceStatus,
    NodeStatus,
    PodOnDevice,
    PodStatus,
)
from drcio_controller.window import Flow, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Pods, where they are, and what was last seen of them."""

    hierarchy: Hierarchy | None
    cgroups: Mapping[str, str]
    pods: Mapping[str, NodePod]
    snapshot: Snapshot | None
    active_at_s: Mapping[tuple[str, DeviceId], float]
    held: Mapping[Knob, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSeen:
    """One device, what was decided for it, and since when."""

    device: Device
    profile: VolumeProfile
    profile_source: str
    instance: InstanceLimit | None
    engine: Engine
    engine_note: str
    acting: bool
    """All that makes weights act on it was read back."""
    acting_since_unix_s: float
    decision: Decision
    decided_since_unix_s: float
    window: Window | None
    writes_wait_s: float | None


WRITE_BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""From a plain write to one that waits for the slowest request of a slow volume."""


@dataclass(slots=True)
class WriteTimes:
    """How long the writes to one kind of file took."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(WRITE_BOUNDS_S) + 1))
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(WRITE_BOUNDS_S, seconds)] += 1
        self.total_s += seconds


@dataclass(slots=True)
class Tally:
    """Counters that only grow, for the metrics."""

    ticks: int = 0
    tick_errors: int = 0
    tick_seconds: float = 0.0
    malformed: int = 0
    discovered: int = 0
    config_reloads: int = 0
    config_errors: int = 0
    writes: Counter[str] = field(default_factory=Counter)
    """By file name."""
    weight_writes: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    foreign_changes: Counter[str] = field(default_factory=Counter)
    write_times: dict[str, WriteTimes] = field(default_factory=dict)
    """By file name; also of writes that failed."""
    withdrawals: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By device and its name."""
    api_requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By verb and result."""

    def written(self, knob: Knob) -> None:
        self.writes[knob.name] += 1
        if knob.name in ("io.weight", bfq.WEIGHT_FILE):
            self.weight_writes += 1

    def took(self, knob: Knob, seconds: float) -> None:
        self.write_times.setdefault(knob.name, WriteTimes()).add(seconds)

    def failed(self, knob: Knob) -> None:
        self.failures[knob.name] += 1

    def foreign(self, knob: Knob) -> None:
        self.foreign_changes[knob.name] += 1


def build_status(header: NodeStatus, seen: Seen, devices: Sequence[DeviceSeen]) -> NodeStatus:
    """Return the node's status: what holds for all of it (`header`), its pods and devices; pure."""
    problems = header.problems
    if seen.hierarchy is None:
        problems += ("no kubepods cgroup was found: kubelet has not started a pod yet",)
    on_device = [_pods_on_device(entry, seen, seen.hierarchy) for entry in devices] if seen.hierarchy else []
    return replace(
        header,
        pods=tuple(
            _pod_status(pod, seen, tuple(table[uid] for table in on_device if uid in table))
            for uid, pod in (seen.pods.items() if seen.hierarchy else ())
        ),
        devices=tuple(_device_status(entry, seen) for entry in devices),
        problems=problems,
    )


def _pod_status(pod: NodePod, seen: Seen, on_devices: tuple[PodOnDevice, ...]) -> PodStatus:
    return PodStatus(
        namespace=pod.namespace,
        name=pod.name,
        uid=pod.uid,
        qos=pod.qos.value,
        priority=pod.priority,
        priority_from=None if pod.priority_from is None else pod.priority_from.value,
        weight=pod.weight,
        weight_set=_weight_held(seen.cgroups[pod.uid], seen.held),
        problems=pod.problems,
        devices=on_devices,
    )


def _device_status(entry: DeviceSeen, seen: Seen) -> DeviceStatus:
    device, window, limit = entry.device, entry.window, entry.instance
    return DeviceStatus(
        device=device.id,
        name=device.name,
        serial=device.serial,
        engine=entry.engine.value,
        engine_note=entry.engine_note,
        acting=entry.acting,
        acting_since_unix_s=entry.acting_since_unix_s,
        profile_source=entry.profile_source,
        profile_iops=entry.profile.iops,
        profile_mib_s=entry.profile.mib_s,
        instance=None if limit is None or not device.is_ebs else _instance_status(limit),
        latency_ms=window.latency_ms if window else None,
        ios_per_s=window.ios_per_s if window else 0.0,
        bytes_per_s=window.bytes_per_s if window else 0.0,
        in_flight=window.in_flight if window else 0,
        state=entry.decision.state,
        state_since_unix_s=entry.decided_since_unix_s,
        reason=entry.decision.reason,
        withdrawn=entry.decision.withdrawn,
        writes_wait_s=entry.writes_wait_s,
        budget_ratio=entry.decision.budget_ratio,
        budget_used_ratio=window.budget_used_ratio if window else None,
        knobs={
            knob.file: value
            for knob, value in seen.held.items()
            if (knob.key == device.id and knob.name.startswith("io.cost."))
            or (knob.in_sysfs and knob.file.startswith(f"block/{device.name}/"))
        },
        terms=dict(entry.decision.terms),
    )


def _instance_status(limit: InstanceLimit) -> InstanceStatus:
    return InstanceStatus(
        type=limit.type,
        iops=limit.baseline_iops,
        mib_s=limit.baseline_bytes_per_s / 2**20,
        burst_iops=limit.burst_iops,
        burst_mib_s=limit.burst_bytes_per_s / 2**20,
    )


def _weight_held(cgroup: str, held: Mapping[Knob, str]) -> int | None:
    for file in ("io.weight", bfq.WEIGHT_FILE):
        value = held.get(Knob(f"{cgroup}/{file}"))
        if value is not None:
            return int(value)
    return None


def _pods_on_device(entry: DeviceSeen, seen: Seen, hierarchy: Hierarchy) -> dict[str, PodOnDevice]:
    device, window = entry.device, entry.window
    members = {
        uid: Member(
            cgroup=seen.cgroups[uid],
            qos=pod.qos,
            weight=pod.weight,
            active=(uid, device.id) in seen.active_at_s,
        )
        for uid, pod in seen.pods.items()
    }
    intended = shares(members.values(), device_weights(list(members.values()), hierarchy), hierarchy)
    flows = {flow.pod.uid: flow for flow in window.flows} if window else {}
    taken_for = roles(window.flows) if window else {}
    used = {uid: _use(flow) for uid, flow in flows.items()}
    total = sum(used.values())
    result = {}
    for uid, counters in (seen.snapshot.pods if seen.snapshot else {}).items():
        stat: IoStat | None = counters.io.get(device.id)
        pod = seen.pods.get(uid)
        if stat is None or pod is None:
            continue
        member = members[uid]
        flow = flows.get(uid)
        effect, why = _effect(pod, member, entry, _weight_held(member.cgroup, seen.held))
        result[uid] = PodOnDevice(
            device=device.id,
            role=taken_for[uid].value if uid in taken_for else None,
            effect=effect,
            why=why,
            limit=seen.held.get(Knob(f"{member.cgroup}/{iomax.LIMIT_FILE}", device.id)),
            bytes_read=stat.rbytes,
            bytes_written=stat.wbytes,
            ios=stat.total_ios,
            bytes_per_s=flow.bytes_per_s if flow else 0.0,
            ios_per_s=flow.ios_per_s if flow else 0.0,
            io_stall_ratio=flow.io_stall_ratio if flow else None,
            share_intended=intended.get(member.cgroup),
            share_achieved=used[uid] / total if total and uid in used else None,
        )
    return result


def _use(flow: Flow) -> float:
    """Return what a pod used of the device: budget where iocost measures it, bytes elsewhere."""
    return flow.bytes_per_s if flow.usage_ratio is None else flow.usage_ratio


def _effect(pod: NodePod, member: Member, entry: DeviceSeen, weight_held: int | None) -> tuple[Effect, str]:
    if not member.active:
        return Effect.IDLE, ""
    if entry.engine is Engine.NONE:
        return Effect.INERT, f"no engine acts on the device ({entry.engine_note or 'none fits'})"
    if entry.engine is not Engine.IOMAX and pod.managed and weight_held is None:
        return Effect.INERT, "its weight could not be written"
    return Effect.EFFECTIVE, ""
