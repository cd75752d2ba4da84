"""What happened on a device between two snapshots, as rates. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from drcio_controller.kernel.parse import DeviceId, IoStat, Pressure
from drcio_controller.observe import PodCounters, Snapshot
from drcio_controller.pods.nodepod import NodePod


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One pod's I/O on one device."""

    pod: NodePod
    ios_per_s: float
    bytes_per_s: float
    read_ios_per_s: float = 0.0
    """Of `ios_per_s`; the rest are writes. The kernel's limits know the two directions apart."""
    read_bytes_per_s: float = 0.0
    usage_ratio: float | None = None
    """iocost: share of the device's budget that was used."""
    io_stall_ratio: float | None = None
    """PSI: share of the time in which some task of the pod waited for I/O."""
    cpu_stall_ratio: float | None = None

    @property
    def active(self) -> bool:
        return self.ios_per_s > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One device between two looks."""

    device: DeviceId
    end_s: float
    span_s: float
    latency_ms: float | None
    """Mean time in the device of the requests that completed; None if none did. Waiting for iocost's
    budget is not in it, so it shows exactly the queue that this node does not own."""
    ios_per_s: float
    """Completed requests, after merging and splitting."""
    bytes_per_s: float
    in_flight: int
    """At the end of the window."""
    flows: tuple[Flow, ...]
    """Every known pod that ever used the device, idle ones too."""
    budget_used_ratio: float | None = None
    """iocost: share of the whole budget that was used; None where it is off."""

    @property
    def request_bytes(self) -> float:
        """Return the mean size of a completed request; 0 if none completed."""
        return self.bytes_per_s / self.ios_per_s if self.ios_per_s else 0.0


_NO_IO: Final = IoStat()


def windows(previous: Snapshot, current: Snapshot, pods: Mapping[str, NodePod]) -> tuple[Window, ...]:
    """Return a window per device that both snapshots show; none if no time passed."""
    span_s = current.at_s - previous.at_s
    if span_s <= 0:
        return ()
    return tuple(
        _window(device, previous, current, pods, span_s)
        for device in current.devices
        if device in previous.devices
    )


@dataclass(frozen=True, slots=True)
class Use:
    """What some devices did together between two snapshots."""

    bytes_per_s: float = 0.0
    ios_per_s: float = 0.0
    active: int = 0
    """Of the devices, those that did anything."""


def use_of(devices: Collection[DeviceId], previous: Snapshot, current: Snapshot) -> Use:
    """Return what devices did by the root's count, which has every disk of the node."""
    span_s = current.at_s - previous.at_s
    if span_s <= 0:
        return Use()
    both = [
        (previous.root[device], current.root[device])
        for device in devices
        if device in previous.root and device in current.root
    ]
    ios = [_grown(before.total_ios, after.total_ios) for before, after in both]
    moved = sum(_grown(before.total_bytes, after.total_bytes) for before, after in both)
    return Use(moved / span_s, sum(ios) / span_s, sum(count > 0 for count in ios))


def _window(
    device: DeviceId, previous: Snapshot, current: Snapshot, pods: Mapping[str, NodePod], span_s: float
) -> Window:
    before, after = previous.devices[device], current.devices[device]
    ios = _grown(before.ios, after.ios)
    return Window(
        device=device,
        end_s=current.at_s,
        span_s=span_s,
        latency_ms=_grown(before.ticks_ms, after.ticks_ms) / ios if ios else None,
        ios_per_s=ios / span_s,
        bytes_per_s=_grown(before.total_bytes, after.total_bytes) / span_s,
        in_flight=after.in_flight,
        flows=tuple(
            _flow(pods[uid], previous.pods.get(uid), counters, device, span_s)
            for uid, counters in current.pods.items()
            if uid in pods and device in counters.io
        ),
        budget_used_ratio=_ratio(_usage(previous.root.get(device)), _usage(current.root.get(device)), span_s),
    )


def _flow(
    pod: NodePod, before: PodCounters | None, after: PodCounters, device: DeviceId, span_s: float
) -> Flow:
    if before is not None and before.inode != after.inode:
        before = None
    new = after.io[device]
    # A pod that was not seen before brings its whole past with it; only what grows from here counts.
    # One that was seen without this device did all of that I/O since.
    old = new if before is None else before.io.get(device, _NO_IO)
    stalls = before if before is not None else after
    return Flow(
        pod=pod,
        ios_per_s=_grown(old.total_ios, new.total_ios) / span_s,
        bytes_per_s=_grown(old.total_bytes, new.total_bytes) / span_s,
        read_ios_per_s=_grown(old.rios, new.rios) / span_s,
        read_bytes_per_s=_grown(old.rbytes, new.rbytes) / span_s,
        usage_ratio=_ratio(old.cost_usage_us, new.cost_usage_us, span_s),
        io_stall_ratio=_stall(stalls.io_pressure, after.io_pressure, span_s),
        cpu_stall_ratio=_stall(stalls.cpu_pressure, after.cpu_pressure, span_s),
    )


def _grown(old: int, new: int) -> int:
    """Return a counter's growth; one that went back was reset, and counts from zero."""
    return new - old if new >= old else new


def _usage(stat: IoStat | None) -> int | None:
    return stat.cost_usage_us if stat is not None else None


def _ratio(old_us: int | None, new_us: int | None, span_s: float) -> float | None:
    if new_us is None:
        return None
    return _grown(old_us or 0, new_us) / 1e6 / span_s


def _stall(old: Pressure | None, new: Pressure | None, span_s: float) -> float | None:
    if old is None or new is None:
        return None
    return min(1.0, _grown(old.some_us, new.some_us) / 1e6 / span_s)
