"""Our own policy: reduce a look to the law's signals, and its outcome to knobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from drcio_controller.cgroupfs.parse import Limits
from drcio_controller.config import Config, Engine, VolumeProfile
from drcio_controller.engines.iocost import IOPS_HEADROOM, PERIOD_MIN_US, period_us
from drcio_controller.policies import knee
from drcio_controller.policies.decision import Decision, View
from drcio_controller.policies.roles import split
from drcio_controller.window import Flow, Window

QUICK_LOOK_S: Final = 0.25
"""How soon to look again while something is about to happen: the queue that a probe meets grows for
as long as nobody looks."""

YIELDING_MEMORY_S: Final = 1.5
"""A lower class counts as doing I/O this long after its last one: under a small budget a large I/O
may wait longer than from one look to the next."""

WRITE_FLOOR_RATIO: Final = 0.25
"""Of the volume; no cap holds writes below it. Everybody on a shared journal waits for the slowest."""

CPU_BOUND_STALL: Final = 0.5
"""A pod whose tasks wait for a CPU this share of the time is slow for that reason."""

EBS_UNIT_BYTES: Final = 256 << 10
"""EBS counts an I/O of up to this size as one, and larger ones as several."""

IOPS_PROMISE: Final = 0.9
BYTES_PROMISE: Final = 0.95
"""Of a volume's limits, what is promised for I/O below EBS's unit. The rest fills the volume's burst
buckets. High priority's own bursts of small reads are served from the one for IOPS; at the limit they
would wait for each other (measured: 8 ms in the device)."""

_PAGE_BYTES: Final = 4096


class DrcioPolicy:
    """One device's law with its memory."""

    def __init__(self, config: Config, law: knee.Law | None = None) -> None:
        self._config = config
        self._law = law or knee.Law()
        self._state: knee.State | None = None
        self._period_us = PERIOD_MIN_US
        self._protected_at_s = float("-inf")
        self._yielding_at_s = float("-inf")

    def decide(self, view: View) -> Decision:
        window = view.window
        if self._state is None:
            self._state = knee.initial(known=view.profile_known)
        protected, yielding = split(window.flows)
        if any(flow.active for flow in protected):
            self._protected_at_s = window.end_s
        if any(flow.active for flow in yielding):
            self._yielding_at_s = window.end_s
        signals = knee.Signals(
            now_s=window.end_s,
            span_s=window.span_s,
            latency_ms=window.latency_ms,
            requests=window.ios_per_s * window.span_s,
            used=_used(view, self._state),
            delivered=cost(view.profile, window.ios_per_s, window.bytes_per_s),
            queued_s=_queued_s(view, self._state),
            protected_active=window.end_s - self._protected_at_s <= self._config.idle_after_s,
            yielding_active=window.end_s - self._yielding_at_s <= YIELDING_MEMORY_S,
            yielding_stall=_largest([flow.io_stall_ratio for flow in yielding]),
            yielding_request_bytes=_request_bytes(yielding),
            floor=self._config.floor_percent / 100,
            promised=promised(view.profile, _request_bytes(yielding)) if view.profile_known else None,
            missed_target=_missed_target(view, protected),
        )
        outcome = knee.step(self._state, signals, self._law)
        self._state = outcome.state
        # Of the knee and not of the budget, which falls for a moment whenever a queue is drained.
        capacity = self._state.knee or self._state.written
        self._period_us = period_us(view.profile, capacity, self._period_us)
        return _decision(view, outcome, yielding, period_us=self._period_us, cpu_bound=_cpu_bound(protected))


def cost(profile: VolumeProfile, ios_per_s: float, bytes_per_s: float) -> float:
    """Return the share of the profile that I/O takes by the linear model that iocost is given."""
    page_s = _PAGE_BYTES / profile.bytes_per_s
    per_io_s = max(0.0, 1 / (profile.iops * IOPS_HEADROOM) - page_s)
    return ios_per_s * per_io_s + bytes_per_s / profile.bytes_per_s


def promised(profile: VolumeProfile, request_bytes: float) -> float | None:
    """Return what a volume of this profile can do of I/O of this size, in multiples of the profile.

    The volume has two limits and reaches one of them; the model adds up the two costs. None without I/O.
    """
    if not request_bytes:
        return None
    if request_bytes >= EBS_UNIT_BYTES:
        return 1.0
    ios_per_s = min(IOPS_PROMISE * profile.iops, BYTES_PROMISE * profile.bytes_per_s / request_bytes)
    return cost(profile, ios_per_s, ios_per_s * request_bytes)


def _decision(
    view: View, outcome: knee.Outcome, yielding: Sequence[Flow], *, period_us: int, cpu_bound: bool
) -> Decision:
    state = outcome.state
    cap = state.cap
    if view.engine is Engine.IOMAX and state.mode not in (knee.Mode.IDLE, knee.Mode.ALONE, knee.Mode.OPEN):
        # Without a budget in front of everybody, limits on those who yield are the budget.
        cap = state.written if cap is None else min(cap, state.written)
    capped = [flow.pod.uid for flow in yielding if flow.pod.managed and cap is not None]
    calm = state.mode is knee.Mode.HOLD and not state.suspicious
    return Decision(
        state=state.mode.value,
        reason=outcome.reason + ("; high priority is short of CPU, not of I/O" if cpu_bound else ""),
        budget_ratio=state.written,
        period_us=period_us,
        caps=dict.fromkeys(capped, _limits(view.profile, cap / len(capped))) if cap and capped else {},
        look_again_s=None if calm else QUICK_LOOK_S,
        terms=outcome.terms,
    )


def _limits(profile: VolumeProfile, ratio: float) -> Limits:
    read_bytes = max(1, round(profile.bytes_per_s * ratio))
    read_ios = max(1, round(profile.iops * ratio))
    return Limits(
        rbps=read_bytes,
        wbps=max(read_bytes, round(profile.bytes_per_s * WRITE_FLOOR_RATIO)),
        riops=read_ios,
        wiops=max(read_ios, round(profile.iops * WRITE_FLOOR_RATIO)),
    )


def _used(view: View, state: knee.State) -> float:
    window = view.window
    if view.engine is Engine.IOCOST and window.budget_used_ratio is not None:
        return window.budget_used_ratio * state.written
    ios = sum(flow.ios_per_s for flow in window.flows)
    return cost(view.profile, ios, sum(flow.bytes_per_s for flow in window.flows))


def _queued_s(view: View, state: knee.State) -> float:
    """Return how long the device needs for what it holds, if it is like what it did before."""
    window: Window = view.window
    requests = float(window.in_flight)
    work = cost(view.profile, requests, requests * window.request_bytes)
    return work / max(0.1, state.knee or state.written)


def _request_bytes(flows: Sequence[Flow]) -> float:
    ios = sum(flow.ios_per_s for flow in flows)
    return sum(flow.bytes_per_s for flow in flows) / ios if ios else 0.0


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _cpu_bound(protected: Sequence[Flow]) -> bool:
    return any(
        (flow.cpu_stall_ratio or 0.0) > CPU_BOUND_STALL > (flow.io_stall_ratio or 0.0) for flow in protected
    )


def _missed_target(view: View, protected: Sequence[Flow]) -> bool:
    """Say whether a pod misses its target for a reason that squeezing others could change."""
    return any(
        latency.measured_s > latency.limit_s
        for flow in protected
        if (latency := view.latencies.get(flow.pod.uid)) is not None and not _cpu_bound([flow])
    )
