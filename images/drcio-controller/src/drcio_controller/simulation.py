"""A small model of a remotely throttled volume under iocost, to try a policy in milliseconds.

The volume has two leaky buckets, bytes and I/Os counted in units, each letting a burst of 100 ms
through (as QEMU's throttle and, in kind, EBS do), and one queue behind them. In front of it sits a
budget: an I/O waits there until its cost by the linear model is covered, high priority first.
After a high-priority burst low priority gets nothing for one period, as iocost needs that long to
hand an idle cgroup's share back. It is a test's device; numbers come from the node twin.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

_STEP_S = 0.001
_BURST_S = 0.100
_BASE_MS = 0.6
_WIRE_BYTES_PER_S = 1.5e9
"""What a request takes without any queue: a fixed part and its size over the wire."""


@dataclass(slots=True, kw_only=True)
class Volume:
    """What the volume can do; may be changed while it runs."""

    iops: float = 3000
    bytes_per_s: float = 125 * 2**20
    unit_bytes: int = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Who does I/O."""

    burst_reads: int = 24
    bursts_per_s: float = 8.0
    block_bytes: int = 1 << 20
    depth: int = 32


@dataclass(slots=True)
class Totals:
    """Cumulative counters, as the kernel has them."""

    ios: int = 0
    ticks_ms: float = 0.0
    total_bytes: int = 0
    high_ios: int = 0
    low_ios: int = 0
    low_bytes: int = 0
    usage_s: float = 0.0
    low_stall_s: float = 0.0


@dataclass(slots=True)
class _Io:
    size: int
    entered_s: float
    burst: _Burst | None


@dataclass(slots=True)
class _Burst:
    started_s: float
    left: int


@dataclass(slots=True)
class Simulation:
    """Run the volume, the budget and both loads; read `totals` between steps."""

    volume: Volume
    load: Load
    model_iops: float
    model_bytes_per_s: float
    seed: int = 1
    budget: float | None = 1.0
    """None: no control, everything goes straight to the device."""
    period_s: float = 0.010
    high_on: bool = True
    low_on: bool = True
    now_s: float = 0.0
    totals: Totals = field(default_factory=Totals)
    fetches: list[tuple[float, float]] = field(default_factory=list)
    """Start in seconds and duration in milliseconds of each high-priority burst."""
    _rng: random.Random = field(init=False)
    _next_burst_s: float = 0.0
    _queue: deque[_Io] = field(default_factory=deque)
    _byte_level: float = 0.0
    _unit_level: float = 0.0
    _high_waiting: deque[_Io] = field(default_factory=deque)
    _low_waiting: deque[_Io] = field(default_factory=deque)
    _low_outstanding: int = 0
    _high_credit_s: float = 0.0
    _low_credit_s: float = 0.0
    _low_blocked_until_s: float = 0.0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)  # noqa: S311 - a load, not a secret
        self._next_burst_s = self._rng.expovariate(self.load.bursts_per_s)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end_s = self.now_s + seconds
        while self.now_s < end_s - _STEP_S / 2:
            self.now_s += _STEP_S
            self._issue()
            self._admit()
            self._serve()

    @property
    def queued_s(self) -> float:
        """Return what is in the device now, in seconds of the model."""
        return sum(self._cost_s(io.size) for io in self._queue)

    def _cost_s(self, size: int) -> float:
        pages = size / 4096
        page_s = 4096 / self.model_bytes_per_s
        return max(0.0, 1 / self.model_iops - page_s) + pages * page_s

    def _issue(self) -> None:
        while self.now_s >= self._next_burst_s:
            if self.high_on:
                burst = _Burst(self._next_burst_s, self.load.burst_reads)
                for _ in range(self.load.burst_reads):
                    self._high_waiting.append(_Io(4096, self.now_s, burst))
            self._next_burst_s += self._rng.expovariate(self.load.bursts_per_s)
        while self.low_on and self._low_outstanding < self.load.depth:
            self._low_outstanding += 1
            self._low_waiting.append(_Io(self.load.block_bytes, self.now_s, None))

    def _admit(self) -> None:
        """Let I/O through the budget."""
        earned_s = _STEP_S * (self.budget or 0.0)
        if self._high_waiting:
            self._low_blocked_until_s = self.now_s + self.period_s
        self._high_credit_s = min(self._high_credit_s + earned_s, self.period_s / 2 * (self.budget or 0.0))
        while self._high_waiting and (self.budget is None or self._high_credit_s > 0):
            self._enter(self._high_waiting.popleft())
        if self.now_s >= self._low_blocked_until_s:
            self._low_credit_s = min(self._low_credit_s + earned_s, self.period_s / 2 * (self.budget or 0.0))
        while self._low_waiting and (self.budget is None or self._low_credit_s > 0):
            self._enter(self._low_waiting.popleft())
        if self._low_outstanding:
            self.totals.low_stall_s += _STEP_S

    def _enter(self, io: _Io) -> None:
        cost_s = self._cost_s(io.size)
        if self.budget is not None:
            self.totals.usage_s += cost_s / self.budget
            if io.burst is None:
                self._low_credit_s -= cost_s
            else:
                self._high_credit_s -= cost_s
        io.entered_s = self.now_s
        self._queue.append(io)

    def _serve(self) -> None:
        self._byte_level = max(0.0, self._byte_level - self.volume.bytes_per_s * _STEP_S)
        self._unit_level = max(0.0, self._unit_level - self.volume.iops * _STEP_S)
        while (
            self._queue
            and self._byte_level < self.volume.bytes_per_s * _BURST_S
            and self._unit_level < self.volume.iops * _BURST_S
        ):
            io = self._queue.popleft()
            self._byte_level += io.size
            self._unit_level += max(1.0, io.size / self.volume.unit_bytes)
            self._complete(io)

    def _complete(self, io: _Io) -> None:
        took_ms = (self.now_s - io.entered_s) * 1000 + _BASE_MS + io.size / _WIRE_BYTES_PER_S * 1000
        totals = self.totals
        totals.ios += 1
        totals.ticks_ms += took_ms
        totals.total_bytes += io.size
        if io.burst is None:
            totals.low_ios += 1
            totals.low_bytes += io.size
            self._low_outstanding -= 1
            return
        totals.high_ios += 1
        io.burst.left -= 1
        if io.burst.left == 0:
            started_s = io.burst.started_s
            self.fetches.append((started_s, (self.now_s - started_s) * 1000 + _BASE_MS))
