"""A mix on the simulated node, under the very policy object that the agent runs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from drcio_controller.config import DEFAULT_CLASSES, Config
from drcio_controller.config import Engine as ControlEngine
from drcio_controller.kernel.devices import Device
from drcio_controller.kernel.parse import BlockStat, DeviceId, IoStat, Pressure
from drcio_controller.kube.pod import QosClass
from drcio_controller.law.decision import Decision, DevicePolicy, View
from drcio_controller.loop import ACTIVE_FOR_S
from drcio_controller.observe import PodCounters, Snapshot
from drcio_controller.plan import ManagedDevice, PlacedPod, wanted_knobs
from drcio_controller.pods.mapping import Driver, Hierarchy
from drcio_controller.pods.nodepod import NodePod
from drcio_controller.window import windows
from experiments.fuzz.mix import BASE_S, LOW_STARTS_S, MIB, Engine, High, Low, Mix
from experiments.simulator.knobs import SimulatedKnobs
from experiments.simulator.node import DeviceCounters, GroupCounters, Job, Node

DEVICE: Final = DeviceId("259:1")
HIERARCHY: Final = Hierarchy(Driver.SYSTEMD, "kubepods.slice")
BUCKET_S: Final = 0.05
"""How long a volume may be ahead of its rate: what its two buckets hold. AWS publishes no figure; this is
what the twin's volume has."""
WRITE_BASE_S: Final = 0.00075
SPREAD: Final = 0.42
"""Sigma of the base latency's logarithm: median 0.6 ms, 99th percentile 1.6."""
LINK_BYTES_PER_S: Final = 566 * MIB
_DISK: Final = Device(id=DEVICE, name="nvme1n1")


@dataclass(slots=True)
class Simulated:
    """A node with a mix on it, looked at and steered as the agent does it."""

    mix: Mix
    policy: DevicePolicy | None = None
    """None: nobody controls."""
    engine: ControlEngine = ControlEngine.NONE
    config: Config = field(default_factory=Config)
    told: bool = True
    low: bool = True
    salt: int = 0
    even_pauses: bool = True
    """Of high priority, as fio makes them on a twin; else it comes at random."""
    node: Node = field(init=False)
    decisions: list[tuple[float, Decision]] = field(default_factory=list)
    _pods: dict[str, NodePod] = field(default_factory=dict)
    _groups: dict[str, int] = field(default_factory=dict)
    _jobs: dict[str, int] = field(default_factory=dict)
    _knobs: SimulatedKnobs = field(init=False)
    _previous: Snapshot | None = None
    _look_at_s: float = 0.5
    _active_at_s: dict[str, float] = field(default_factory=dict)
    _synchronous: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        mix = self.mix
        self.node = node = Node(mix.seed * 31 + self.salt)
        node.set_volume(mix.iops, mix.profile.bytes_per_s, BUCKET_S)
        node.set_base(BASE_S, WRITE_BASE_S, SPREAD, link_bytes_per_s=LINK_BYTES_PER_S)
        paths = {"": node.root}
        for path in (HIERARCHY.kubepods, *HIERARCHY.slices, "system.slice"):
            paths[path] = node.add_group(paths[path.rpartition("/")[0]])
        self._groups = paths
        self._knobs = SimulatedKnobs(node, paths)
        high = replace(high_job(mix.high), even_pauses=self.even_pauses)
        self.add("high", mix.high.qos, high, priority="high")
        if self.low:
            for index, low in enumerate(mix.low):
                self.add(f"low{index}", low.qos, low_job(low), priority="low")
                if low.engine in (Engine.THREADS, Engine.BUFFERED):
                    self._synchronous.add(f"low{index}")

    def add(self, uid: str, qos: QosClass, job: Job, *, priority: str | None) -> int:
        """Add a program in a pod of its own, or to one that is there."""
        if uid not in self._pods:
            weight = DEFAULT_CLASSES[priority].weight if priority else None
            self._pods[uid] = NodePod(
                uid=uid, cgroup_uid=uid, namespace="fuzz", name=uid, qos=qos, priority=priority, weight=weight
            )
            path = HIERARCHY.pod(uid, qos)
            self._groups[path] = self.node.add_group(self._groups[HIERARCHY.qos_slice(qos)])
        self._jobs[uid] = self.node.add_job(self._groups[self._path(uid)], job)
        return self._jobs[uid]

    def add_outside(self, job: Job) -> int:
        """Add a program outside of every pod, in system.slice."""
        self._jobs["system"] = self.node.add_job(self._groups["system.slice"], job)
        return self._jobs["system"]

    def run(self, until_s: float, *, each: Callable[[Decision], None] | None = None) -> None:
        """Let time pass, and the policy look and act as often as it asks for."""
        if self.policy is None:
            self.node.run(until_s)
            return
        while self._look_at_s <= until_s:
            self.node.run(max(self._look_at_s, self.node.now_s))
            decision = self._look(self.policy)
            # A write that freezes the queue returns when it is over; the agent cannot look before.
            now_s = self.node.now_s
            interval_s = self.config.interval_s
            if decision is not None:
                interval_s = min(interval_s, decision.look_again_s or interval_s)
                if each:
                    each(decision)
            self._look_at_s = max(self._look_at_s + interval_s, now_s + 0.01)
        self.node.run(max(until_s, self.node.now_s))

    def done(self, prefix: str) -> tuple[int, int]:
        """Return the completed I/Os and bytes of the pods whose uid begins so."""
        each = [self.node.done(job) for uid, job in self._jobs.items() if uid.startswith(prefix)]
        return sum(ios for ios, _ in each), sum(size for _, size in each)

    def counted(self, prefix: str) -> tuple[int, int]:
        """Return the I/Os and bytes that such pods' cgroups count, as on a node: no I/O is above 256 KiB."""
        each = [
            self.node.group(self._groups[self._path(uid)]) for uid in self._pods if uid.startswith(prefix)
        ]
        return sum(sum(one.ios) for one in each), sum(sum(one.total_bytes) for one in each)

    def latencies_ms(self, since_s: float) -> npt.NDArray[np.float64]:
        """Return how long each of high priority's I/Os took that began since then."""
        return self.timed_ms(since_s)[1]

    def timed_ms(self, since_s: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return when each of high priority's I/Os began, in seconds, and how long it took."""
        samples = self.node.samples()
        at_s = samples["at_ns"] / 1e9
        kept = at_s >= since_s
        return at_s[kept], samples["took_ns"][kept] / 1e6

    def close(self) -> None:
        self.node.close()

    def _path(self, uid: str) -> str:
        pod = self._pods[uid]
        return HIERARCHY.pod(uid, pod.qos)

    def _look(self, policy: DevicePolicy) -> Decision | None:
        snapshot = self._snapshot()
        seen = windows(self._previous, snapshot, self._pods) if self._previous else ()
        self._previous = snapshot
        if not seen:
            return None
        for flow in seen[0].flows:
            if flow.active:
                self._active_at_s[flow.pod.uid] = snapshot.at_s
        lately = {uid for uid, at_s in self._active_at_s.items() if snapshot.at_s - at_s <= ACTIVE_FOR_S}
        decision = policy.decide(
            View(
                window=seen[0],
                engine=self.engine,
                profile=self.mix.profile,
                profile_known=self.told,
                lately=lately,
                froze_s=self._knobs.froze_s,
            )
        )
        self.decisions.append((snapshot.at_s, decision))
        self._apply(decision, lately)
        return decision

    def _apply(self, decision: Decision, active: Collection[str]) -> None:
        placed = [
            PlacedPod(
                pod=pod,
                cgroup=self._path(uid),
                active_on=frozenset({DEVICE} if uid in active else ()),
            )
            for uid, pod in self._pods.items()
        ]
        managed = ManagedDevice(device=_DISK, engine=self.engine, profile=self.mix.profile, decision=decision)
        self._knobs.reconcile(wanted_knobs(HIERARCHY, placed, [managed], weights_only=False))

    def _snapshot(self) -> Snapshot:
        groups = {uid: self.node.group(self._groups[self._path(uid)]) for uid in self._pods}
        stats = {uid: _io_stat(group) for uid, group in groups.items()}
        device = self.node.device()
        on = self.engine is ControlEngine.IOCOST
        root = {DEVICE: IoStat(cost_usage_us=device.usage_us if on else None)}
        return Snapshot(
            at_s=self.node.now_s,
            # A pod is there before its first I/O.
            pods={
                uid: PodCounters(
                    1, {DEVICE: stat} if stat.total_ios else {}, self._pressure(uid, groups[uid])
                )
                for uid, stat in stats.items()
            },
            devices={DEVICE: _block_stat(device)},
            root=root,
        )

    def _pressure(self, uid: str, group: GroupCounters) -> Pressure:
        """Return a pod's `io.pressure`: its threads wait for iocost; those of a synchronous job always do."""
        waits_us = round(self.node.now_s * 1e6) if uid in self._synchronous else group.stalled_us
        return Pressure(some_us=waits_us, full_us=0)


def high_job(high: High) -> Job:
    """Return the protected program for the simulator."""
    return Job(
        size=high.block_bytes,
        read_percent=high.read_percent,
        threads=high.threads,
        burst=high.burst,
        think_s=high.think_s,
        measured=True,
    )


def low_job(low: Low) -> Job:
    """Return a yielding program for the simulator."""
    match low.engine:
        case Engine.BUFFERED:
            # Written to the page cache at memory's speed, and out by fsync, in pieces of the bio's size.
            job = Job(
                size=low.block_bytes,
                read_percent=0,
                burst=max(1, low.fsync_bytes // low.block_bytes),
                think_s=low.fsync_bytes / _MEMORY_BYTES_PER_S + BASE_S,
                even_pauses=True,
            )
        case Engine.THREADS:
            job = Job(size=low.block_bytes, read_percent=low.read_percent, threads=low.depth, depth=1)
        case _:
            job = Job(size=low.block_bytes, read_percent=low.read_percent, depth=low.depth)
    return replace(job, start_s=LOW_STARTS_S, on_s=low.on_s, off_s=low.off_s)


_MEMORY_BYTES_PER_S: Final = 1e9


def _io_stat(counters: GroupCounters) -> IoStat:
    return IoStat(
        rbytes=counters.total_bytes[0],
        wbytes=counters.total_bytes[1],
        rios=counters.ios[0],
        wios=counters.ios[1],
        cost_usage_us=counters.usage_us,
    )


def _block_stat(device: DeviceCounters) -> BlockStat:
    return BlockStat(
        reads=device.ios[0],
        read_sectors=device.total_bytes[0] // 512,
        read_ticks_ms=device.ticks_ms[0],
        writes=device.ios[1],
        write_sectors=device.total_bytes[1] // 512,
        write_ticks_ms=device.ticks_ms[1],
        in_flight=device.in_flight,
        io_ticks_ms=0,
        queue_ticks_ms=sum(device.ticks_ms),
    )
