"""Look at the kernel: one snapshot of every counter that a decision may need."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from drcio_controller.errors import KernelFileError, Malformed, Vanished
from drcio_controller.kernel.files import OpenFiles, inode_of
from drcio_controller.kernel.knob import Roots
from drcio_controller.kernel.parse import (
    BlockStat,
    DeviceId,
    IoStat,
    Pressure,
    parse_block_stat,
    parse_io_stat,
    parse_pressure,
)

INODE_CHECK_INTERVAL_S: Final = 5.0
"""How often an open file's cgroup is compared with its path: a descriptor of a removed cgroup fails
by itself, so this only catches a path that was removed and made again between two looks."""


@dataclass(frozen=True, slots=True)
class PodCounters:
    """One pod's cumulative counters; `inode` distinguishes a re-made cgroup from the one before."""

    inode: int
    io: Mapping[DeviceId, IoStat]
    io_pressure: Pressure | None = None
    cpu_pressure: Pressure | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that was seen in one look."""

    at_s: float
    """When the devices' counters were read."""
    pods: Mapping[str, PodCounters] = field(default_factory=dict)
    devices: Mapping[DeviceId, BlockStat] = field(default_factory=dict)
    root: Mapping[DeviceId, IoStat] = field(default_factory=dict)
    malformed: tuple[str, ...] = ()


def _together(one: PodCounters, other: PodCounters) -> PodCounters:
    """Return the counters of two cgroups of one pod; it stalls where the busier of them does."""
    io = {device: one.io.get(device, IoStat()).plus(stat) for device, stat in other.io.items()}
    io_pressure = max((one.io_pressure, other.io_pressure), key=_stalled_us)
    return replace(one, io={**one.io, **io}, io_pressure=io_pressure)


def _stalled_us(pressure: Pressure | None) -> int:
    return -1 if pressure is None else pressure.some_us


@dataclass(slots=True)
class _Seen:
    inode: int
    inode_checked_at_s: float
    io_text: str = ""
    io: Mapping[DeviceId, IoStat] = field(default_factory=dict)


class Observer:
    """Take snapshots cheaply: files stay open, and text that did not change is not parsed again."""

    def __init__(self, roots: Roots, clock: Callable[[], float] | None = None) -> None:
        self._roots = roots
        self._clock = clock
        self._files = OpenFiles()
        self._seen: dict[str, _Seen] = {}

    def look(
        self,
        cgroups: Mapping[str, str],
        devices: Collection[DeviceId],
        now_s: float,
        *,
        pressure_of: Collection[str] = (),
        besides: Mapping[str, Sequence[str]] | None = None,
    ) -> Snapshot:
        """Read every pod's counters (`cgroups` maps uid to cgroup) and every device's.

        What a pod does in other cgroups `besides` its own is added to its counters.

        Pods and devices that vanished are left out. `pressure_of` names the uids whose stall times
        are wanted; the others' files are not read.
        """
        malformed: list[str] = []
        # First, and of this moment: a rate is no better than the time that it is taken over, and on a
        # busy CPU the rest of a look may take as long as a tenth of it.
        at_s = now_s if self._clock is None else self._clock()
        stats = self._stats(devices, malformed)
        root = self._root(malformed)
        pods: dict[str, PodCounters] = {}
        for uid, cgroup in cgroups.items():
            try:
                pods[uid] = self._pod(cgroup, now_s, pressure=uid in pressure_of)
                for other in (besides or {}).get(uid, ()):
                    pods[uid] = _together(pods[uid], self._pod(other, now_s, pressure=uid in pressure_of))
            except Vanished:
                self._forget(cgroup)
            except Malformed as error:
                malformed.append(f"{cgroup}: {error}")
            except KernelFileError as error:
                malformed.append(str(error))
        watched = set(cgroups.values()).union(*(besides or {}).values())
        for cgroup in self._seen.keys() - watched:
            self._forget(cgroup)
        return Snapshot(at_s, pods, stats, root, tuple(malformed))

    def close(self) -> None:
        """Close every file."""
        self._files.close()

    def _stats(self, devices: Collection[DeviceId], malformed: list[str]) -> Mapping[DeviceId, BlockStat]:
        stats: dict[DeviceId, BlockStat] = {}
        for device in devices:
            try:
                stats[device] = parse_block_stat(
                    self._files.read(f"{self._roots.sys}/dev/block/{device}/stat")
                )
            except Vanished:
                continue
            except KernelFileError as error:
                malformed.append(str(error))
        return stats

    def _root(self, malformed: list[str]) -> Mapping[DeviceId, IoStat]:
        try:
            return parse_io_stat(self._files.read(f"{self._roots.cgroup}/io.stat"))
        except Vanished:
            return {}
        except KernelFileError as error:
            malformed.append(str(error))
            return {}

    def _pod(self, cgroup: str, now_s: float, *, pressure: bool) -> PodCounters:
        folder = f"{self._roots.cgroup}/{cgroup}"
        seen = self._seen.get(cgroup)
        if seen is None:
            seen = self._seen[cgroup] = _Seen(inode_of(folder), now_s)
        elif now_s - seen.inode_checked_at_s >= INODE_CHECK_INTERVAL_S:
            seen.inode_checked_at_s = now_s
            if inode_of(folder) != seen.inode:
                raise Vanished(f"{cgroup} was made anew")
        text = self._files.read(f"{folder}/io.stat")
        if text != seen.io_text:
            seen.io = parse_io_stat(text)
            seen.io_text = text
        if not pressure:
            return PodCounters(seen.inode, seen.io)
        return PodCounters(
            seen.inode, seen.io, self._pressure(cgroup, "io.pressure"), self._pressure(cgroup, "cpu.pressure")
        )

    def _pressure(self, cgroup: str, name: str) -> Pressure | None:
        """Return stall times, or None where the kernel runs without PSI."""
        try:
            return parse_pressure(self._files.read(f"{self._roots.cgroup}/{cgroup}/{name}"))
        except KernelFileError:
            return None

    def _forget(self, cgroup: str) -> None:
        self._seen.pop(cgroup, None)
        self._files.forget_below(f"{self._roots.cgroup}/{cgroup}")
