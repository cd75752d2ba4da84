"""One simulated node: cgroups, jobs, a volume, and the knobs that the kernel has."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from experiments.simulator.build import library

CACHE: Final = Path(__file__).resolve().parents[2] / ".cache"
_S: Final = 1_000_000_000
_Pair = ctypes.c_double * 2


class _Job(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("group", "threads", "burst", "depth", "size", "read_percent")),
        ("measured", ctypes.c_int32),
        *((name, ctypes.c_int32) for name in ("first_thread", "even")),
        *((name, ctypes.c_int64) for name in ("think", "start", "on", "off")),
    )


class _Device(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64 * 2) for name in ("ios", "bytes", "ticks_ms")),
        *((name, ctypes.c_int64) for name in ("in_flight", "waiting", "usage_us", "freezes", "frozen_ns")),
    )


class _Group(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64 * 2) for name in ("ios", "bytes")),
        *((name, ctypes.c_int64) for name in ("usage_us", "held", "waiting", "stalled_us")),
    )


_SAMPLE: Final = np.dtype(
    [("at_ns", "<i8"), ("took_ns", "<i8"), ("held_ns", "<i8"), ("job", "<i4"), ("size", "<i4")]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Some threads of one program; either a stream of `depth` in flight each, or bursts with a pause."""

    size: int
    read_percent: int = 100
    threads: int = 1
    depth: int = 0
    burst: int = 1
    """Of each thread, where `depth` is 0; the pause begins when the last of it is done."""
    think_s: float = 0.0
    even_pauses: bool = False
    """All pauses alike, as fio's are; else exponential around the mean, above a fifth of it."""
    start_s: float = 0.0
    on_s: float = 0.0
    """0: for good."""
    off_s: float = 0.0
    measured: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCounters:
    """As `/sys/block/*/stat` has them, each as (read, write), and what the kernel does not show."""

    ios: tuple[int, int]
    total_bytes: tuple[int, int]
    ticks_ms: tuple[int, int]
    in_flight: int
    waiting: int
    """Requests that wait for iocost's budget."""
    usage_us: int
    freezes: int
    frozen_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCounters:
    """As a cgroup's `io.stat` has them, each as (read, write)."""

    ios: tuple[int, int]
    total_bytes: tuple[int, int]
    usage_us: int
    held: int
    """Requests that io.max holds back."""
    stalled_us: int
    """How long some thread waited for iocost, as `io.pressure` has it beside other waits."""


@functools.cache
def _library() -> ctypes.CDLL:
    lib = ctypes.CDLL(str(library(CACHE)))
    lib.node_new.restype = ctypes.c_void_p
    lib.node_new.argtypes = [ctypes.c_uint64]
    pointer, integer, time = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
    doubles = ctypes.POINTER(ctypes.c_double)
    for name, arguments in {
        "node_free": [pointer],
        "node_add_group": [pointer, integer],
        "node_add_job": [pointer, ctypes.POINTER(_Job)],
        "node_set_volume": [pointer, integer, ctypes.c_double, ctypes.c_double, time],
        "node_set_base": [pointer, time, time, ctypes.c_double, ctypes.c_double, time, ctypes.c_double],
        "node_set_weight": [pointer, integer, ctypes.c_double],
        "node_set_limits": [pointer, integer, doubles, doubles],
        "node_set_iocost": [pointer, integer, time, doubles, doubles],
        "node_frozen": [pointer],
        "node_run": [pointer, time],
        "node_device": [pointer, ctypes.POINTER(_Device)],
        "node_group": [pointer, integer, ctypes.POINTER(_Group)],
        "node_job": [pointer, integer, ctypes.POINTER(time), ctypes.POINTER(time)],
        "node_samples": [pointer, ctypes.POINTER(pointer)],
    }.items():
        getattr(lib, name).argtypes = arguments
    lib.node_samples.restype = ctypes.c_int64
    for name in ("node_free", "node_run", "node_set_volume", "node_set_base", "node_set_weight"):
        getattr(lib, name).restype = None
    return lib


class Node:
    """A node that exists in memory; close it, or use it in a `with`."""

    def __init__(self, seed: int) -> None:
        self._lib = _library()
        self._node = self._lib.node_new(seed)
        self.now_s = 0.0
        self.root = self.add_group(-1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._node:
            self._lib.node_free(self._node)
            self._node = None

    def add_group(self, parent: int) -> int:
        group = int(self._lib.node_add_group(self._node, parent))
        if group < 0:
            raise ValueError("too many cgroups, or nested too deep, for the simulator")
        return group

    def add_job(self, group: int, job: Job) -> int:
        plain = _Job(
            group=group,
            threads=job.threads,
            burst=job.burst,
            depth=job.depth,
            size=job.size,
            read_percent=job.read_percent,
            measured=job.measured,
            first_thread=0,
            even=job.even_pauses,
            think=_ns(job.think_s),
            start=_ns(job.start_s),
            on=_ns(job.on_s),
            off=_ns(job.off_s),
        )
        index = int(self._lib.node_add_job(self._node, ctypes.byref(plain)))
        if index < 0:
            raise ValueError("too many jobs for the simulator")
        return index

    def set_volume(self, iops: float, bytes_per_s: float, burst_s: float, *, instance: bool = False) -> None:
        """Limit the volume, or the instance in front of it; from now on."""
        self._lib.node_set_volume(self._node, int(instance), iops, bytes_per_s, _ns(burst_s))

    def set_base(
        self,
        read_s: float,
        write_s: float,
        spread: float,
        *,
        link_bytes_per_s: float = 0.0,
        extra_s: float = 0.0,
        extra_share: float = 0.0,
    ) -> None:
        """Set what a request takes without any queue: a median, its logarithm's sigma, and its size over the
        link; `extra_s` is added to that share of the reads."""
        self._lib.node_set_base(
            self._node, _ns(read_s), _ns(write_s), spread, link_bytes_per_s, _ns(extra_s), extra_share
        )

    def set_weight(self, group: int, weight: float) -> None:
        self._lib.node_set_weight(self._node, group, weight)

    def set_limits(
        self,
        group: int,
        bytes_per_s: tuple[float | None, float | None],
        iops: tuple[float | None, float | None],
    ) -> None:
        """Write a group's io.max, (read, write) each; None is max."""
        self._lib.node_set_limits(
            self._node,
            group,
            _Pair(*(-1.0 if value is None else value for value in bytes_per_s)),
            _Pair(*(-1.0 if value is None else value for value in iops)),
        )

    def set_iocost(
        self, *, enable: bool, period_s: float, per_io_s: tuple[float, float], per_page_s: tuple[float, float]
    ) -> None:
        """Start writing io.cost.qos and io.cost.model; it is done when the queue is not frozen any more."""
        self._lib.node_set_iocost(
            self._node,
            int(enable),
            _ns(period_s),
            _Pair(*(value * _S for value in per_io_s)),
            _Pair(*(value * _S for value in per_page_s)),
        )

    @property
    def frozen(self) -> bool:
        return bool(self._lib.node_frozen(self._node))

    def run(self, until_s: float) -> None:
        """Let time pass."""
        self._lib.node_run(self._node, _ns(until_s))
        self.now_s = until_s

    def device(self) -> DeviceCounters:
        plain = _Device()
        self._lib.node_device(self._node, ctypes.byref(plain))
        return DeviceCounters(
            ios=_both(plain.ios),
            total_bytes=_both(plain.bytes),
            ticks_ms=_both(plain.ticks_ms),
            in_flight=plain.in_flight,
            waiting=plain.waiting,
            usage_us=plain.usage_us,
            freezes=plain.freezes,
            frozen_s=plain.frozen_ns / _S,
        )

    def group(self, group: int) -> GroupCounters:
        plain = _Group()
        self._lib.node_group(self._node, group, ctypes.byref(plain))
        return GroupCounters(
            ios=_both(plain.ios),
            total_bytes=_both(plain.bytes),
            usage_us=plain.usage_us,
            held=plain.held,
            stalled_us=plain.stalled_us,
        )

    def done(self, job: int) -> tuple[int, int]:
        """Return how many I/Os and bytes a job has completed."""
        ios, size = ctypes.c_int64(), ctypes.c_int64()
        self._lib.node_job(self._node, job, ctypes.byref(ios), ctypes.byref(size))
        return ios.value, size.value

    def samples(self) -> npt.NDArray[np.void]:
        """Return when each measured I/O began and how long it took, in the order of their ends."""
        pointer = ctypes.c_void_p()
        count = int(self._lib.node_samples(self._node, ctypes.byref(pointer)))
        if not count:
            return np.empty(0, _SAMPLE)
        raw = ctypes.string_at(pointer.value or 0, count * _SAMPLE.itemsize)
        return np.frombuffer(raw, _SAMPLE)


def _both(values: Sequence[int]) -> tuple[int, int]:
    return values[0], values[1]


def _ns(seconds: float) -> int:
    return round(seconds * _S)
