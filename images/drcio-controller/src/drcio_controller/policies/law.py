"""The law for one device: how much may be let in, who comes first, how far ahead a burst may be. Pure.

The design, with a picture of the states and the measurement behind each constant, is docs/law.md. In
short: a volume is two token buckets with a burst. iocost stands before it with a budget a little below
what the volume can do, so that whoever must wait waits on this node, by weight. The budget follows from
the volume's figures and the yielding pods' mix by arithmetic; only what the volume can do is learned,
downwards by the evidence of a queue, upwards by rare probes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

UNBOUND_RATIO: Final = 100.0
"""Times the profile: so much is no bound."""

READS_EXPECTED: Final = 16.0
"""Of a protected pod of which nothing is known yet: small reads that it does at once."""
LOOKS_EXPECTED: Final = 8.0
"""How many looks that expectation counts for."""
MOST_SHARE: Final = 0.95
LEAST_CAPACITY: Final = 0.05
"""Of the profile: a device that does less has stopped, which says nothing about what it can do."""


Ratios = tuple[tuple[float, float], ...]
"""When which ratio of charged to real cost was seen; only those that a later one did not undercut."""


class Mode(StrEnum):
    """Why the budget is what it is."""

    IDLE = "idle"
    """Only the protected do I/O, or nobody: the budget stands ready, and is lifted where it would bind."""
    OPEN = "open"
    """The protected are idle: everybody else has all of the device, and no more than that."""
    HOLD = "hold"
    """Both do I/O: the budget is a little below what the device can do."""
    DRAIN = "drain"
    """A queue in the device is being let run empty."""
    PROBE = "probe"
    """A little more is let in than the device was measured to do, to see whether it can do more by now."""
    UNBOUND = "unbound"
    """Nobody said what the device can do, and no queue has shown it: weights only."""
    LET_GO = "let-go"
    """A queue did not drain although less was let in: it is not ours to drain, and nobody is held back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """The law's constants; each one's measurement is in docs/law.md."""

    margin: float = 0.85
    """Of the capacity, what is let in while the protected do I/O."""
    margin_min: float = 0.7
    """The same where the protected come in bursts that need the volume's own bucket."""
    margin_together: float = 0.92
    """The most of it where the protected fill the other bucket of the volume than everybody else."""
    bucket_s: float = 0.05
    """What the volume's burst bucket is trusted to hold, as time at its rate; EBS publishes no figure."""
    protected_share: float = 0.75
    """Of the budget, what the protected may take whenever they want it. More, and everybody else stands
    still in each burst and comes back at once; less, and the bursts themselves are held back."""
    demand_headroom: float = 1.5
    """That share is at least so many times what the protected use."""
    burst_factor: float = 6.0
    """How many bursts the protected may be ahead of their share: the next one may come early."""
    period_min_s: float = 0.012
    period_max_s: float = 0.4
    """iocost's period. Not below three ticks of a kernel with HZ=250, whose timer it is."""
    burst_memory_s: float = 20.0
    """Over so long the protected's demand and its unevenness are averaged; the largest burst is
    remembered three times as long."""
    mix_memory_s: float = 20.0
    """The dearest of the yielding pods' mixes of so long counts."""
    rewrite: float = 0.15
    """A budget that is higher by this, or lower by a third of it, is written; a period that is half as
    long again. Each such write freezes the queue until it is empty."""
    queue_factor: float = 2.5
    queue_slack_s: float = 0.003
    """A mean time in the device of more than base * factor + slack may be a queue."""
    queue_looks: int = 2
    """Looks in a row that show a queue before it is believed; one ten times over the limit is at once."""
    rough: float = 0.97
    """Of what comes out of a queue, what is believed: the bucket's content was in it."""
    drain_floor: float = 0.3
    """Of the capacity: so much is let in while a queue drains, as a full stop is felt by all."""
    drain_looks: int = 8
    let_go_s: float = 60.0
    """A queue that is there after so many looks of draining is let go for so long."""
    probe_step: float = 1.12
    probe_s: float = 2.0
    """A probe lets in so many times the capacity, for so long at most: less fits into the bucket."""
    probe_first_s: float = 10.0
    probe_last_s: float = 240.0
    """From one probe to the next; doubled by each that met the queue."""
    alone_lift: float = 4.0
    """Of the capacity: where the protected are alone and need more than the budget, and after letting go."""
    base_rise_per_s: float = 0.02
    """How fast the base latency follows upwards; downwards it goes halfway at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """One look. Work is in seconds of the device by its profile: the larger of its two costs."""

    now_s: float
    span_s: float
    latency_s: float | None
    """Mean time in the device; None if no request completed."""
    delivered: float
    """Work that was completed, per second."""
    queued_s: float
    """Work in flight at the end."""
    protected_work: float
    """Per second."""
    read_s: float
    """Work of one small read."""
    protected_active: bool
    yielding_active: bool
    mix_ratio: float | None
    """What iocost's linear model charges for the yielding pods' I/O, over what it costs; None without any."""
    together_ratio: float | None = None
    """The same for all I/O: a volume has two buckets, and what fills one leaves room in the other, where
    the model adds up. None while one side does none."""
    floor: float = 0.1
    """Of the capacity: the least that is ever let in."""
    missed_target: bool = False
    """A protected pod that names a target is over it, and is not short of CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is remembered about a device."""

    mode: Mode = Mode.IDLE
    capacity: float | None = None
    """In multiples of the profile; None: not known."""
    ceiling: float = math.inf
    """What the profile promises, if somebody told; the capacity never passes it."""
    base_s: float | None = None
    demand: float = 0.0
    """Mean work per second of the protected, while they are active."""
    unevenness: float = 0.0
    """Mean square of its deviation in a look, per second."""
    burst_s: float = 0.0
    """Work of the largest burst of the protected that is remembered."""
    looks: int = 0
    """At the protected while they were active."""
    mixes: Ratios = ()
    """Of the yielding pods' mix."""
    together: Ratios = ()
    """Of all I/O."""
    queue_looks: int = 0
    drain_looks: int = 0
    capacity_before: float | None = None
    """What was believed when a drain began."""
    let_in: float = 1.0
    """Of the profile, what the yielding pods' mix may use by the budget in force."""
    probed_at_s: float = 0.0
    """When the last probe began, or ended, or a queue was seen."""
    probe_wait_s: float = 0.0
    let_go_until_s: float = -math.inf
    written_ratio: float = 1.0
    period_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What must hold."""

    state: State
    reason: str
    budget_ratio: float
    """Of which device iocost's exact model is given, in multiples of the profile."""
    let_in: float
    """The same for what the yielding pods do: how much of the profile they and the protected may use."""
    bound: bool
    """False: nobody is held back."""
    period_s: float
    protected_share: float
    terms: dict[str, float]


def initial(law: Law, *, known: bool) -> State:
    """Return the state of a device that was never looked at."""
    if known:
        return State(capacity=1.0, ceiling=1.0, probe_wait_s=law.probe_first_s)
    return State(probe_wait_s=law.probe_first_s)


def step(state: State, seen: Signals, law: Law) -> Outcome:
    """Return what must hold until the next look: the whole law."""
    if seen.protected_active:
        state = _demand(state, seen, law)
    state = _mix(state, seen, law)
    queueing = _queueing(state, seen, law)
    if state.mode is Mode.DRAIN:
        if seen.delivered > 1.2 * state.let_in:
            state = _drained(state, seen, law)
        elif queueing:
            # Little's law holds for a queue and for a device that is slow by itself. But a queue that is
            # drained delivers more than is let in; where no more comes out, there was none.
            queueing = False
            state = replace(state, base_s=seen.latency_s, capacity=state.capacity_before, mode=Mode.HOLD)
    state = _base(state, seen, law, queueing=queueing)
    state = replace(state, queue_looks=state.queue_looks + 1 if queueing else 0)
    deep = queueing and (seen.latency_s or 0.0) > 10 * limit_s(state, law)
    # A probe expects to meet the queue; anywhere else one look may be noise.
    confirmed = deep or state.queue_looks >= (1 if state.mode is Mode.PROBE else law.queue_looks)
    state, reason, level = _decide(state, seen, law, confirmed=confirmed)
    return _outcome(state, seen, law, reason, level)


def limit_s(state: State, law: Law) -> float:
    """Return over what a mean time in the device may be a queue."""
    return (state.base_s or 0.0) * law.queue_factor + law.queue_slack_s


def protected_share(state: State, law: Law) -> float:
    """Return which share of the budget the protected may take."""
    return min(MOST_SHARE, max(law.protected_share, law.demand_headroom * state.demand / law.margin))


def wanted_period_s(state: State, law: Law) -> float:
    """Return iocost's period in which the protected's credit, half of it, holds their bursts."""
    wanted_s = law.burst_factor * state.burst_s / (protected_share(state, law) * law.margin)
    return min(law.period_max_s, max(law.period_min_s, wanted_s))


def margin(state: State, law: Law) -> float:
    """Return which part of the capacity is let in.

    What the protected leave of their share, iocost gives back in the next period, at up to the budget
    times 1 + share. What that is over the capacity has to fit into the volume's bucket, beside a burst.
    """
    room_s = max(0.0, law.bucket_s - state.burst_s)
    fits = (1 + room_s / max(state.period_s, law.period_min_s)) / (1 + protected_share(state, law))
    return max(law.margin_min, min(law.margin, fits))


def _demand(state: State, seen: Signals, law: Law) -> State:
    """Learn what the protected use, and how unevenly.

    Where bursts of equal work come at random, that work is the variance over the mean (the index of
    dispersion), whatever the length of a look.
    """
    if not state.looks:
        demand = seen.protected_work
        burst_s = seen.read_s * READS_EXPECTED
        return replace(state, demand=demand, unevenness=demand * burst_s, burst_s=burst_s, looks=1)
    weight = max(min(1.0, seen.span_s / law.burst_memory_s), 1 / (state.looks + LOOKS_EXPECTED))
    deviation_s = (seen.protected_work - state.demand) * seen.span_s
    demand = state.demand + weight * (seen.protected_work - state.demand)
    unevenness = state.unevenness + weight * (deviation_s**2 / seen.span_s - state.unevenness)
    faded_s = state.burst_s * (1 - min(1.0, seen.span_s / (3 * law.burst_memory_s)))
    burst_s = max(faded_s, unevenness / demand if demand > 0 else 0.0)
    return replace(state, demand=demand, unevenness=unevenness, burst_s=burst_s, looks=state.looks + 1)


def _mix(state: State, seen: Signals, law: Law) -> State:
    # Nobody yields for now: whoever comes back is likely to be as before.
    mixes = _remembered(state.mixes, seen.mix_ratio, seen.now_s, law) or state.mixes[-1:]
    together = _remembered(state.together, seen.together_ratio, seen.now_s, law)
    return replace(state, mixes=mixes, together=together)


def _remembered(ratios: Ratios, newest: float | None, now_s: float, law: Law) -> Ratios:
    kept = tuple(entry for entry in ratios if entry[0] > now_s - law.mix_memory_s)
    if newest is None:
        return kept
    return (*(entry for entry in kept if entry[1] < newest), (now_s, newest))


def _dearest(ratios: Ratios) -> float:
    return min((ratio for _, ratio in ratios), default=1.0)


def _queueing(state: State, seen: Signals, law: Law) -> bool:
    """Say whether requests seem to wait in the device for each other: they take long, and are still there.

    What completed may have waited in a queue that is gone by now.
    """
    if seen.latency_s is None or state.base_s is None or seen.latency_s <= limit_s(state, law):
        return False
    return seen.queued_s / max(seen.delivered, LEAST_CAPACITY) >= 0.5 * seen.latency_s


def _drained(state: State, seen: Signals, law: Law) -> State:
    """Take what came out of a queue that was there all the time for what the device can do."""
    there = (seen.latency_s or 0.0) > limit_s(state, law) and seen.queued_s > law.queue_slack_s
    delivered = max(LEAST_CAPACITY, law.rough * seen.delivered)
    if not there or state.capacity is None or delivered >= state.capacity:
        return state
    return replace(state, capacity=delivered, probed_at_s=seen.now_s)


def _base(state: State, seen: Signals, law: Law, *, queueing: bool) -> State:
    """Follow the time in the device without a queue: downwards quickly, upwards slowly."""
    if seen.latency_s is None or queueing:
        return state
    if state.base_s is None:
        return replace(state, base_s=min(seen.latency_s, law.queue_slack_s))
    if seen.latency_s < state.base_s:
        return replace(state, base_s=(state.base_s + seen.latency_s) / 2)
    return replace(state, base_s=min(seen.latency_s, state.base_s * (1 + law.base_rise_per_s * seen.span_s)))


def _decide(state: State, seen: Signals, law: Law, *, confirmed: bool) -> tuple[State, str, float | None]:
    """Return the state, the reason, and what to let in, in multiples of the capacity; None: no bound."""
    if not seen.yielding_active:
        return _alone(state, law)
    if seen.now_s < state.let_go_until_s:
        return replace(state, mode=Mode.LET_GO), "a queue that does not drain is left alone", law.alone_lift
    if confirmed:
        if state.mode is not Mode.DRAIN:
            state = replace(state, capacity_before=state.capacity)
        state = _believed(state, seen, law)
    if not seen.protected_active:
        mode = Mode.OPEN if state.capacity else Mode.UNBOUND
        level = 1.0 if state.capacity else None
        return replace(state, mode=mode, drain_looks=0), "the protected pods are idle", level
    if state.capacity is None:
        return replace(state, mode=Mode.UNBOUND), "what the device can do is not known", None
    return _drain(state, seen, law) if confirmed else _hold(state, seen, law)


def _alone(state: State, law: Law) -> tuple[State, str, float | None]:
    state = replace(state, mode=Mode.IDLE, drain_looks=0)
    if state.capacity is None:
        return state, "nobody has to yield", None
    if state.demand * law.demand_headroom > law.margin * state.capacity:
        return state, "the protected pods need the device for themselves", law.alone_lift
    return state, "nobody has to yield", margin(state, law)


def _believed(state: State, seen: Signals, law: Law) -> State:
    """Take what a device with a queue delivers for what it can do: at first, or after a probe."""
    delivered = min(state.ceiling, max(LEAST_CAPACITY, law.rough * seen.delivered))
    if state.capacity is None:
        full = state.queue_looks >= law.queue_looks
        return replace(state, capacity=delivered if full else None, probed_at_s=seen.now_s)
    if state.mode is Mode.PROBE:
        wait_s = min(law.probe_last_s, 2 * state.probe_wait_s)
        capacity = max(state.capacity, delivered)
        return replace(state, capacity=capacity, probe_wait_s=wait_s, probed_at_s=seen.now_s)
    return state


def _drain(state: State, seen: Signals, law: Law) -> tuple[State, str, float | None]:
    looks = state.drain_looks + 1
    if looks > law.drain_looks:
        until_s = seen.now_s + law.let_go_s
        state = replace(
            state,
            mode=Mode.LET_GO,
            drain_looks=0,
            let_go_until_s=until_s,
            capacity=state.capacity_before or state.capacity,
        )
        return state, "a queue that does not drain is left alone", law.alone_lift
    capacity = state.capacity or 1.0
    level = max(law.drain_floor, seen.floor, law.margin - seen.queued_s / capacity / seen.span_s)
    # Well below what comes out: by that a queue is told from a device that is slow by itself.
    level = max(seen.floor, min(level, 0.6 * seen.delivered / capacity))
    return replace(state, mode=Mode.DRAIN, drain_looks=looks), "requests queue in the device", level


def _hold(state: State, seen: Signals, law: Law) -> tuple[State, str, float | None]:
    capacity = state.capacity or 1.0
    since_s = seen.now_s - state.probed_at_s
    if state.mode is Mode.PROBE and since_s < law.probe_s:
        return state, "asking whether the device can do more", law.probe_step
    if state.mode is Mode.PROBE:
        capacity = min(state.ceiling, capacity * law.probe_step)
        wait_s = law.probe_first_s / 4
        state = replace(state, capacity=capacity, probe_wait_s=wait_s, probed_at_s=seen.now_s)
        since_s = 0.0
    level = margin(state, law)
    if seen.missed_target:
        level = law.margin_min
    wanted = seen.delivered > 0.9 * level * capacity
    if capacity < state.ceiling and wanted and since_s > state.probe_wait_s and not seen.missed_target:
        state = replace(state, mode=Mode.PROBE, probed_at_s=seen.now_s)
        return state, "asking whether the device can do more", law.probe_step
    return replace(state, mode=Mode.HOLD, drain_looks=0), "a little below what the device can do", level


def _outcome(state: State, seen: Signals, law: Law, reason: str, level: float | None) -> Outcome:
    """Turn the level into a budget, and leave what is in force where the difference is small."""
    wanted_s, period_s = wanted_period_s(state, law), state.period_s
    if not period_s or not 1 / 1.5 <= wanted_s / period_s <= 1.5:
        period_s = wanted_s
    mix = _dearest(state.mixes)
    # The protected may pause at any time, and the yielding pods then have all of it.
    both = max(1.0, _dearest(state.together) / mix)
    ratio = (
        UNBOUND_RATIO
        if level is None
        else max(level, min(law.margin_together, level * both)) * (state.capacity or 1.0) * mix
    )
    if 1 - law.rewrite / 3 <= ratio / state.written_ratio <= 1 + law.rewrite:
        ratio = state.written_ratio
    state = replace(state, written_ratio=ratio, period_s=period_s, let_in=ratio / mix)
    return Outcome(
        state=state,
        reason=reason,
        budget_ratio=ratio,
        let_in=state.let_in,
        bound=level is not None and state.mode is not Mode.LET_GO,
        period_s=period_s,
        protected_share=protected_share(state, law),
        terms={
            "latency_ms": 1000 * (seen.latency_s or 0.0),
            "limit_ms": 1000 * limit_s(state, law),
            "queued_ms": 1000 * seen.queued_s,
            "delivered": seen.delivered,
            "level": level or 0.0,
            "capacity": state.capacity or 0.0,
            "demand": state.demand,
            "burst_ms": 1000 * state.burst_s,
            "mix": mix,
            "both": both,
        },
    )
