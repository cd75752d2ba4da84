"""Count what happened, and put what is known into one status value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from drcio_controller.cgroupfs.parse import DeviceId, IoStat
from drcio_controller.config import Engine, VolumeProfile
from drcio_controller.devices import Device
from drcio_controller.engines import bfq
from drcio_controller.knob import Knob
from drcio_controller.mapping import Hierarchy
from drcio_controller.observe import Snapshot
from drcio_controller.pods import NodePod
from drcio_controller.policies.decision import Decision
from drcio_controller.policies.roles import roles
from drcio_controller.status import DeviceStatus, Effect, NodeStatus, PodOnDevice, PodStatus
from drcio_controller.weights import Member, device_weights, shares
from drcio_controller.window import Flow, Window

DeviceView = tuple[Device, Engine, str, Decision, Window | None]


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
    api_requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By verb and result."""

    def written(self, knob: Knob) -> None:
        self.writes[knob.name] += 1
        if knob.name in ("io.weight", bfq.WEIGHT_FILE):
            self.weight_writes += 1

    def failed(self, knob: Knob) -> None:
        self.failures[knob.name] += 1

    def foreign(self, knob: Knob) -> None:
        self.foreign_changes[knob.name] += 1


def build_status(
    *,
    node: str,
    at_unix_s: float,
    policy: str,
    config_digest: str,
    synced: bool,
    config_error: str,
    hierarchy: Hierarchy | None,
    cgroups: Mapping[str, str] | None,
    pods: Mapping[str, NodePod],
    snapshot: Snapshot | None,
    devices: Sequence[DeviceView],
    volumes: Sequence[VolumeProfile],
    active_at_s: Mapping[tuple[str, DeviceId], float],
    held: Mapping[Knob, str],
    failing: Mapping[Knob, str],
    problems: Sequence[str],
) -> NodeStatus:
    """Return the node's status; pure."""
    problems = [*problems, *(f"{knob}: {message}" for knob, message in failing.items())]
    if hierarchy is None or cgroups is None:
        problems.append("no kubepods cgroup was found: kubelet has not started a pod yet")
        return NodeStatus(
            node=node, at_unix_s=at_unix_s, policy=policy, config_digest=config_digest, synced=synced,
            config_error=config_error, problems=tuple(problems),
        )  # fmt: skip
    on_device = {
        device.id: _pods_on_device(
            device, engine, note, window, hierarchy, cgroups, pods, snapshot, active_at_s, held
        )
        for device, engine, note, _, window in devices
    }
    return NodeStatus(
        node=node,
        at_unix_s=at_unix_s,
        policy=policy,
        config_digest=config_digest,
        synced=synced,
        config_error=config_error,
        pods=tuple(
            PodStatus(
                namespace=pod.namespace,
                name=pod.name,
                uid=uid,
                qos=pod.qos.value,
                priority=pod.priority,
                priority_from=None if pod.priority_from is None else pod.priority_from.value,
                weight=pod.weight,
                weight_set=_weight_held(cgroups[uid], held),
                problems=pod.problems,
                devices=tuple(table[uid] for table in on_device.values() if uid in table),
            )
            for uid, pod in pods.items()
        ),
        devices=tuple(_device_status(view, volumes) for view in devices),
        problems=tuple(problems),
    )


def _device_status(view: DeviceView, volumes: Sequence[VolumeProfile]) -> DeviceStatus:
    device, engine, note, decision, window = view
    profile, source = device.profile(volumes)
    return DeviceStatus(
        device=device.id,
        name=device.name,
        serial=device.serial,
        engine=engine.value,
        engine_note=note,
        profile_source=source,
        profile_iops=profile.iops,
        profile_mib_s=profile.mib_s,
        latency_ms=window.latency_ms if window else None,
        ios_per_s=window.ios_per_s if window else 0.0,
        bytes_per_s=window.bytes_per_s if window else 0.0,
        in_flight=window.in_flight if window else 0,
        state=decision.state,
        reason=decision.reason,
        budget_ratio=decision.budget_ratio,
        budget_used_ratio=window.budget_used_ratio if window else None,
        terms=dict(decision.terms),
    )


def _weight_held(cgroup: str, held: Mapping[Knob, str]) -> int | None:
    for file in ("io.weight", bfq.WEIGHT_FILE):
        value = held.get(Knob(f"{cgroup}/{file}"))
        if value is not None:
            return int(value)
    return None


def _pods_on_device(
    device: Device,
    engine: Engine,
    note: str,
    window: Window | None,
    hierarchy: Hierarchy,
    cgroups: Mapping[str, str],
    pods: Mapping[str, NodePod],
    snapshot: Snapshot | None,
    active_at_s: Mapping[tuple[str, DeviceId], float],
    held: Mapping[Knob, str],
) -> dict[str, PodOnDevice]:
    members = {
        uid: Member(
            cgroup=cgroups[uid],
            qos=pod.qos,
            weight=pod.weight,
            active=(uid, device.id) in active_at_s,
        )
        for uid, pod in pods.items()
    }
    intended = shares(members.values(), device_weights(list(members.values()), hierarchy), hierarchy)
    flows = {flow.pod.uid: flow for flow in window.flows} if window else {}
    taken_for = roles(window.flows) if window else {}
    used = {uid: _use(flow) for uid, flow in flows.items()}
    total = sum(used.values())
    result = {}
    for uid, counters in (snapshot.pods if snapshot else {}).items():
        stat: IoStat | None = counters.io.get(device.id)
        pod = pods.get(uid)
        if stat is None or pod is None:
            continue
        member = members[uid]
        flow = flows.get(uid)
        effect, why = _effect(pod, member, engine, note, _weight_held(cgroups[uid], held))
        result[uid] = PodOnDevice(
            device=device.id,
            role=taken_for[uid].value if uid in taken_for else None,
            effect=effect,
            why=why,
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


def _effect(
    pod: NodePod, member: Member, engine: Engine, note: str, weight_held: int | None
) -> tuple[Effect, str]:
    if not member.active:
        return Effect.IDLE, ""
    if engine is Engine.NONE:
        return Effect.INERT, f"no engine acts on the device ({note or 'none fits'})"
    if engine is not Engine.IOMAX and pod.managed and weight_held is None:
        return Effect.INERT, "its weight could not be written"
    return Effect.EFFECTIVE, ""
