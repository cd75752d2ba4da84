"""Find the knee of a device and stay just below it. Pure; the reasons are in docs/adr/0001.

One number per device is controlled: the budget, as a multiple of the device's profile, that this
node lets out per second. Below the knee every waiting I/O waits here, where weights decide who is
next; above it the queue moves into the device (on EBS: behind it), where weights mean nothing.

The knee shows itself in one signal that no budget hides: requests stay longer in the device than
they do when nothing queues there. One such queue tells roughly where the knee is, for the device was
at its limit in that moment; a second one soon after tells it exactly, in the budget's own units.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

PLAUSIBLE_CAPACITY: Final = 0.5
"""Of a mix that was not seen yet, in multiples of the profile: small I/O at the volume's IOPS limit
costs half by a model with twice the IOPS (see engines.iocost)."""


class Mode(StrEnum):
    """Why the budget is what it is."""

    IDLE = "idle"
    """No I/O of lower classes: nothing to arbitrate."""
    ALONE = "hp-alone"
    """The protected pods fill the device by themselves; nobody is to be squeezed for that."""
    OPEN = "open"
    """The protected pods are idle; everybody else may have the whole device."""
    SEEK = "seek"
    """Growing towards a knee that is not known (any more)."""
    HOLD = "hold"
    """Just below the knee."""
    PROBE = "probe"
    """Asking whether the knee has moved up."""
    DRAIN = "drain"
    """Letting a queue in the device run empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """The law's constants; each says where it comes from."""

    latency_factor: float = 2.5
    latency_slack_ms: float = 3.0
    """The device counts as queueing when its latency is over base * factor and base + slack. At the
    knee of a measured sweep single reads took up to twice their base; beyond it a hundred times."""
    severe_factor: float = 3.0
    """So many times that limit needs no second look."""
    margin: float = 0.95
    """How much of the capacity is let out. The rest empties what bursts leave behind, and keeps credit in
    the volume's burst bucket (measured: 0.98 gives low priority 3% more and doubles the fetch's p95)."""
    quiet_s: float = 12.0
    """After a queue was seen, no probing for this long."""
    probe_growth: float = 0.02
    """Per second, near a knee that was measured. A slow probe meets a small queue: what comes in over the
    capacity has first to fill the volume's burst bucket (100 ms in QEMU), and is noticed within a look."""
    probe_answered: float = 1.15
    """A probe that meets the queue before it is this far over the knee has its answer: it did not move.
    Past it, it did, and how far nobody knows: from there on it is sought, not asked after."""
    probe_overshoot: float = 1.06
    """How far over the capacity such a probe is when it meets the queue: the bucket was filled by then."""
    probe_trust: float = 0.3
    """How much of the difference to the knee is believed."""
    unsure_quiet_s: float = 5.0
    """Before a knee that nothing has confirmed yet is probed, and then at `seek_growth`: where one look
    took a late start or a busy host for the device's limit, slow probes would meet such a moment again
    and again, each before it had come far enough to tell. So a doubled volume is found in ten seconds."""
    agreement: float = 0.92
    """Of the larger one: two knees so near to each other, each met by a probe of its own, confirm each
    other. What was met past `probe_answered` never agrees with the knee that was passed."""
    seek_growth: float = 0.20
    """Per second, where no knee is known, or none that can be relied on."""
    open_jump: float = 1.10
    open_growth: float = 0.10
    """Per second, while no queue shows that the device is full. Nobody waits behind the queue meanwhile."""
    open_limit: float = 4.0
    """Times the knee; there the device is saturated whatever the mix."""
    open_queue_s: float = 0.02
    """The queue that is kept while the protected pods are idle: it never runs empty, so nothing of the
    device is wasted, and a protected pod that comes back waits no longer than this."""
    open_correction_s: float = 1.0
    """A queue that is longer or shorter is brought back in about this time."""
    binding_used: float = 0.78
    """A budget used to this share, of what is used when it binds, is what holds low priority back."""
    binding_stall: float = 0.5
    """So is a lower one, if low priority stalls for most of the time without a queue in the device."""
    base_rise_per_s: float = 0.02
    """How fast the base latency follows upwards; it falls at once, halfway per look."""
    base_min_ms: float = 0.2
    base_first_ms: float = 10.0
    loaded: float = 0.6
    """Of the best known capacity: below it the device is not busy enough to have a queue."""
    unexplained_rise_per_s: float = 0.1
    """How fast the base follows a latency that no queue explains."""
    mix_change: float = 2.5
    """A mean request this many times larger or smaller is another mix, with another knee."""
    mix_looks: int = 2
    """In a row; one may be a program that starts."""
    mix_loaded: float = 0.3
    """Of the best known capacity: less I/O than this (a program that starts) is no mix of its own."""
    average_min_s: float = 0.7
    average_max_s: float = 6.0
    """A second queue so long after the first: what was delivered in between is the capacity. Sooner, and a
    look's noise is in it; later, and the device may have been left idle."""
    efficiency_max: float = 1.15
    """iocost lets out more than the budget of small I/O beside bursts (measured: 8%); never so much."""
    even_change: float = 0.05
    """Over this a change of the budget makes the next looks' usage void: I/O that waits was priced before."""
    correction: float = 0.93
    """At most so much lower is the capacity taken from one look of draining to the next."""
    proven: float = 0.9
    """Of what was delivered while a queue ran empty, or without one: the rest may have been the burst
    bucket's."""
    rough: float = 0.95
    """Of what one look at a queue shows, unless it was a second look: it flatters the device."""
    short_queue: float = 0.97
    """A queue that is not severe takes at most so much off the knee."""
    collapse: float = 0.8
    """A knee this far below the best one known may be a moment's trouble: it is doubted once."""
    return_growth: float = 0.7
    """Per second, back towards a knee whose loss is doubted."""
    return_looks: int = 3
    """Looks there without a queue that end the doubt: fewer, and a burst bucket answers for the device."""
    idle_looks: int = 5
    """Looks in a row with a queue before a budget that is not used up is blamed for it: then it is not
    what lets too much in, and the latency may come from elsewhere (a busy host, one large burst)."""
    drain_floor: float = 0.3
    """While draining, low priority keeps this share: a full stop would be felt by its own clients."""
    stuck_looks: int = 12
    """Looks in a row in which a queue did not drain, before low priority is capped outright: then the
    queue comes past the budget (writeback by the kernel, a process outside of every pod)."""
    cap_step: float = 0.8
    cap_release: float = 0.15
    """Per second, how fast a cap is lifted once the queue is gone."""
    budget_min: float = 0.02
    budget_max: float = 400.0
    quantum: float = 0.015
    """Smaller changes are not written: each write of the model quiesces the queue for a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """One look, reduced to what the law needs."""

    now_s: float
    span_s: float
    latency_ms: float | None
    """Mean time in the device; None if nothing completed."""
    requests: float
    """Completed in the window."""
    used: float
    """What the budget let into the device per second, in multiples of the profile."""
    delivered: float
    """What the device completed per second, in the same unit, reckoned from its own counters. The two
    differ while a queue in the device grows or shrinks."""
    queued_s: float
    """How long the device needs for what is in it at the end of the window."""
    protected_active: bool
    """Within the idle time, not only in this window."""
    yielding_active: bool
    """Lower classes did I/O in this window."""
    yielding_stall: float | None
    """Share of the time in which some of them waited for I/O; None without PSI."""
    yielding_request_bytes: float
    """Mean size of lower classes' I/Os; 0 if there were none."""
    floor: float
    """The share of the capacity below which low priority is never held."""
    promised: float | None = None
    """The capacity for lower classes' mix that a known profile promises; None where nobody told us."""
    missed_target: bool = False
    """A protected pod that names a target is over it, and is not short of CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the law remembers about a device."""

    budget: float
    written: float
    """The budget in force; follows `budget` in quanta."""
    knee: float | None = None
    """The device's capacity for this mix, as last seen, in multiples of the profile."""
    knee_request_bytes: float = 0.0
    """Of the mix that it was measured for; 0 while it is only promised."""
    knee_sure: bool = False
    """Promised by a known profile, or more than one late I/O's word: it was met by a search as a deep queue
    that stayed, two queues gave it, a probe agreed with it, or the device was full for some time."""
    best: float = PLAUSIBLE_CAPACITY
    """The highest knee lately believed in, or what was delivered without any queue."""
    doubted: bool = False
    """The knee fell far below the best one, once; it is being asked whether it really did."""
    returned: int = 0
    """Looks so far in which the doubted device did what it did before."""
    efficiency: float = 1.0
    """Share of a binding budget that is really used: a burst of high priority leaves some unused. Over 1
    with small I/O, of which iocost lets out a little more."""
    base_ms: float | None = None
    queue_seen_s: float = float("-inf")
    delivered_total: float = 0.0
    """`delivered` times its seconds, since the law began."""
    queue_at_s: float = float("-inf")
    """The last look that showed a queue; the next two are of that moment."""
    queue_total: float = 0.0
    settling: bool = False
    """The look before ended a drain, whose effect comes as late as I/O that waited was priced before."""
    used_before: float = 0.0
    """In the look before: one look may end between a large I/O and the next."""
    even_looks: int = 0
    """Looks in a row with about the same budget."""
    suspicious: int = 0
    """Looks in a row with a queue."""
    other_mix: int = 0
    """Looks in a row that showed another mix than the knee's."""
    unit_ratio: float = 1.0
    """`used` over `delivered` while nothing queues: merged and split I/Os cost a little differently."""
    cap: float | None = None
    """A limit on lower classes, in multiples of the profile; None: the budget suffices."""
    stuck: int = 0
    target_margin: float = 1.0
    """Below 1 while a protected pod misses its target through a queue that lower classes cause."""
    mode: Mode = Mode.IDLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the law decided, and every term of it."""

    state: State
    reason: str
    terms: dict[str, float]


def initial(*, known: bool) -> State:
    """Return a state that starts at the profile, and stays there until a probe or a queue knows better.

    A guessed profile is a place to start seeking from, a little below it.
    """
    start = 1.0 if known else 0.8
    return State(budget=start, written=start)


def step(state: State, seen: Signals, law: Law) -> Outcome:
    """Return the next state: the whole law, one look at a time."""
    limit_ms = _limit(state.base_ms if state.base_ms is not None else _first_base(seen, law), law)
    latency_ms = seen.latency_ms or 0.0
    slow = seen.requests >= 1 and latency_ms > limit_ms
    queueing = slow and _explained(state, seen, law, limit_ms)
    base_ms = _base(state, seen, law, unexplained=slow and not queueing)
    if seen.queued_s * 1000 < _gone_ms(state, limit_ms, law):
        queueing = False  # what completed had waited in a queue that is gone by now
    severe = queueing and latency_ms > law.severe_factor * limit_ms
    before = state
    state = replace(
        state,
        base_ms=base_ms,
        delivered_total=state.delivered_total + seen.delivered * seen.span_s,
        settling=False,
        unit_ratio=_unit_ratio(state, seen, queueing=queueing),
        suspicious=state.suspicious + 1 if queueing else 0,
        efficiency=_efficiency(state, seen, law, queueing=queueing),
        target_margin=_target_margin(state, seen, queueing=queueing),
    )
    state = _for_mix(state, seen, law, queueing=queueing)
    # A probe expects to meet the queue; anywhere else one look may be noise.
    if _binding(state, seen, law):
        needed = 1 if state.mode in (Mode.PROBE, Mode.SEEK) else 2
    else:
        needed = law.idle_looks
    confirmed = severe or (queueing and (state.mode is Mode.DRAIN or state.suspicious >= needed))
    if not seen.yielding_active:
        state, reason = _without_yielding(state, seen, law, queueing=confirmed)
    elif not seen.protected_active:
        state, reason = _open(state, seen, law, queueing=queueing)
    elif confirmed:
        state, reason = _back_off(state, seen, law, limit_ms=limit_ms, severe=severe)
    elif state.mode in (Mode.DRAIN, Mode.OPEN, Mode.ALONE, Mode.IDLE):
        state, reason = _settle(state, seen, law)
    elif queueing:
        reason = "latency rose once; looking again"
    elif not _binding(state, seen, law):
        state, reason = replace(state, mode=Mode.HOLD), "lower classes do not use what they may have"
    else:
        state, reason = _grow(state, seen, law)
    state = _capped(_bounded(state, seen, law), seen, law, queueing=confirmed)
    even = abs(state.written - before.written) <= law.even_change * before.written
    state = replace(state, even_looks=state.even_looks + 1 if even else 0, used_before=seen.used)
    if confirmed:
        state = replace(state, queue_at_s=seen.now_s, queue_total=state.delivered_total)
    terms = {
        "latency_ms": seen.latency_ms or 0.0,
        "base_ms": base_ms or 0.0,
        "limit_ms": limit_ms,
        "used": seen.used,
        "knee": state.knee or 0.0,
        "efficiency": state.efficiency,
        "stall": seen.yielding_stall or 0.0,
    }
    return Outcome(state=state, reason=reason, terms=terms)


def _limit(base_ms: float | None, law: Law) -> float:
    base = law.base_min_ms if base_ms is None else base_ms
    return max(base * law.latency_factor, base + law.latency_slack_ms)


def _gone_ms(state: State, limit_ms: float, law: Law) -> float:
    """Return the queue at a look's end below which the one that was seen counts as gone."""
    if state.mode is Mode.DRAIN:
        return limit_ms
    return law.severe_factor * limit_ms if state.settling else 0.0


def _explained(state: State, seen: Signals, law: Law, limit_ms: float) -> bool:
    """Say whether a queue can be why requests are slow.

    A device that does far less than it is known to do has no queue, unless one is there to be seen
    in flight: then it got slower. Else it is the host that is slow to start or to notice I/O.
    """
    loaded = seen.delivered >= law.loaded * state.best
    return loaded or seen.queued_s * 1000 > limit_ms / 2


def _first_base(seen: Signals, law: Law) -> float | None:
    """Return a base for the very first look, which may be into a queue; few devices idle at more."""
    if seen.latency_ms is None or seen.requests < 4:
        return None
    return max(law.base_min_ms, min(seen.latency_ms, law.base_first_ms))


def _base(state: State, seen: Signals, law: Law, *, unexplained: bool) -> float | None:
    """Follow the latency without a queue: down quickly, up slowly, and never up into a queue."""
    if seen.latency_ms is None or seen.requests < 4:
        return state.base_ms
    if state.base_ms is None:
        return _first_base(seen, law)
    if seen.latency_ms < state.base_ms:
        return max(law.base_min_ms, (state.base_ms + seen.latency_ms) / 2)
    if seen.latency_ms > _limit(state.base_ms, law) and not unexplained:
        return state.base_ms
    rise_per_s = law.unexplained_rise_per_s if unexplained else law.base_rise_per_s
    return state.base_ms + min(1.0, rise_per_s * seen.span_s) * (seen.latency_ms - state.base_ms)


def _efficiency(state: State, seen: Signals, law: Law, *, queueing: bool) -> float:
    if not state.even_looks or queueing or not seen.yielding_active or not seen.protected_active:
        return state.efficiency
    used_ratio = min(law.efficiency_max, seen.used / state.written)
    stalled = seen.yielding_stall is None or seen.yielding_stall > 0.5
    if used_ratio < 0.5 or not (stalled or used_ratio > 1):
        return state.efficiency
    return state.efficiency + min(1.0, 0.2 * seen.span_s) * (used_ratio - state.efficiency)


def _unit_ratio(state: State, seen: Signals, *, queueing: bool) -> float:
    if queueing or not state.even_looks or state.mode in (Mode.DRAIN, Mode.OPEN):
        return state.unit_ratio
    if min(seen.used, seen.delivered) < 0.05:
        return state.unit_ratio
    ratio = min(2.0, max(0.5, seen.used / seen.delivered))
    return state.unit_ratio + min(1.0, 0.1 * seen.span_s) * (ratio - state.unit_ratio)


def _target_margin(state: State, seen: Signals, *, queueing: bool) -> float:
    """Lower the ceiling while a target is missed through a queue; give it back slowly."""
    if seen.missed_target and queueing and seen.yielding_active:
        return max(0.6, state.target_margin * 0.93)
    return min(1.0, state.target_margin + 0.01 * seen.span_s)


def _for_mix(state: State, seen: Signals, law: Law, *, queueing: bool) -> State:
    """Return what is known of the capacity for the present mix: measured, promised, or nothing."""
    if not queueing and seen.yielding_active:
        state = replace(state, best=max(state.best, law.proven * seen.delivered * state.unit_ratio))
    other_mix = state.other_mix + 1 if _is_another_mix(state, seen, law) else 0
    state = replace(state, other_mix=other_mix)
    if other_mix >= law.mix_looks:
        state = replace(
            state,
            knee=None,
            knee_request_bytes=0.0,
            knee_sure=False,
            best=PLAUSIBLE_CAPACITY,
            doubted=False,
            other_mix=0,
        )
    if not state.knee_request_bytes and seen.yielding_active and seen.promised is not None:
        knee = seen.promised * min(1.0, state.efficiency) / law.margin
        state = replace(state, knee=knee, knee_sure=True)
    return state


def _is_another_mix(state: State, seen: Signals, law: Law) -> bool:
    if state.knee is None or not seen.yielding_request_bytes or not state.knee_request_bytes:
        return False
    if seen.delivered < law.mix_loaded * state.best:
        return False
    ratio = seen.yielding_request_bytes / state.knee_request_bytes
    return not 1 / law.mix_change < ratio < law.mix_change


def _binding(state: State, seen: Signals, law: Law) -> bool:
    used_ratio = max(seen.used, state.used_before) / state.written
    if used_ratio >= law.binding_used * state.efficiency:
        return True
    stall = seen.yielding_stall
    return stall is not None and stall >= law.binding_stall and used_ratio >= 0.5


def _below_knee(state: State, law: Law) -> float:
    """Return the budget that makes what is really used the wanted share of the capacity."""
    knee = state.budget if state.knee is None else state.knee * law.margin / state.efficiency
    return knee * state.target_margin


def _without_yielding(state: State, seen: Signals, law: Law, *, queueing: bool) -> tuple[State, str]:
    budget = max(1.0, state.knee or 0.0)
    if seen.used > 0.5 * state.written or queueing:
        budget = max(budget, min(2 * state.budget, law.open_limit * budget))
        return replace(state, budget=budget, mode=Mode.ALONE), "protected pods fill the device by themselves"
    return replace(state, budget=budget, mode=Mode.IDLE), "no I/O of lower classes"


def _open(state: State, seen: Signals, law: Law, *, queueing: bool) -> tuple[State, str]:
    if queueing:
        # Nobody suffers now, so the device's capacity may be measured as long as it is offered.
        achieved = seen.delivered * state.unit_ratio
        if state.knee is not None:
            achieved = state.knee + 0.3 * (achieved - state.knee)
        state = replace(
            state,
            knee=achieved,
            knee_request_bytes=seen.yielding_request_bytes,
            knee_sure=state.knee is not None,
            queue_seen_s=seen.now_s,
        )
    if state.mode is not Mode.OPEN:
        start = max(state.written, (state.knee or state.written) * law.open_jump)
        return replace(state, budget=start, mode=Mode.OPEN), "protected pods are idle"
    if queueing and state.knee is not None:
        used_ratio = min(1.0, max(0.8, seen.used / state.written))
        excess = min(0.3, (seen.queued_s - law.open_queue_s) / law.open_correction_s)
        return replace(state, budget=state.knee / used_ratio * (1 - excess)), "protected pods are idle"
    if not _binding(state, seen, law):
        return state, "protected pods are idle, and nobody wants more"
    reference = max(state.knee or 0.0, 1.0)
    budget = min(law.open_limit * reference, state.budget * (1 + law.open_growth * seen.span_s))
    return replace(state, budget=max(budget, state.budget)), "protected pods are idle"


def _back_off(state: State, seen: Signals, law: Law, *, limit_ms: float, severe: bool) -> tuple[State, str]:
    """Say what the capacity is, and let the queue run empty.

    A queue of D seconds is gone after one look of T seconds in which D/T less than the capacity
    is let in. What is delivered in one look flatters the device by a burst bucket's credit, which
    counts for little between two queues: at either of them there was none left.
    """
    draining = state.mode is Mode.DRAIN
    knee = seen.delivered * state.unit_ratio
    queue_seen_s = seen.now_s
    average = None if draining else _average(state, seen, law)
    answered = average is None and _probe_is_answered(state, law)
    if average is not None:
        knee = average
    elif answered and state.knee is not None:
        met = state.written * state.efficiency / law.probe_overshoot
        knee = state.knee + law.probe_trust * (met - state.knee)
    elif draining and state.knee is not None:
        # The queue may have run empty on the way, so that less than the capacity was delivered; but
        # the look before may have flattered the device.
        knee = min(state.knee, max(knee, state.knee * law.correction))
    elif state.mode is not Mode.OPEN and _binding(state, seen, law):
        knee = law.rough * min(knee, state.written * state.efficiency)
    agreed = state.mode is Mode.PROBE and _agree(state.knee, knee, law)
    # A late I/O of a busy host passes; a queue that a search ran into is deep, and still there.
    found = severe and state.mode in (Mode.PROBE, Mode.SEEK) and seen.queued_s * 1000 > limit_ms
    if not (severe or answered or average is not None) and state.knee is not None:
        # A short queue means little too much; and it may be noise, so ask again sooner.
        knee = max(knee, law.short_queue * state.knee)
        queue_seen_s = max(state.queue_seen_s, seen.now_s - _quiet_s(state, law) / 3)
    knee = max(knee, seen.floor * state.best)
    best, doubted = _belief(state, knee, law, sure=average is not None)
    let_in = max(law.drain_floor, law.margin - seen.queued_s / seen.span_s) / max(1.0, state.efficiency)
    return (
        replace(
            state,
            knee=knee,
            best=best,
            doubted=doubted,
            knee_request_bytes=seen.yielding_request_bytes,
            knee_sure=state.knee_sure or found or agreed or average is not None,
            budget=min(state.budget * 0.98, knee * let_in),
            queue_seen_s=queue_seen_s,
            mode=Mode.DRAIN,
        ),
        "requests queue in the device",
    )


def _average(state: State, seen: Signals, law: Law) -> float | None:
    """Return the capacity that follows from two queues, if they are near enough to each other.

    At neither was there credit left in the burst bucket, and in between the device was busy: what it
    delivered is what it can do.
    """
    span_s = seen.now_s - state.queue_at_s
    if not law.average_min_s <= span_s <= law.average_max_s:
        return None
    return (state.delivered_total - state.queue_total) / span_s * state.unit_ratio


def _probe_is_answered(state: State, law: Law) -> bool:
    """Say whether a probe met the queue about where the knee was measured: nothing to measure anew."""
    if state.mode is not Mode.PROBE or not state.knee_sure:
        return False
    if state.knee is None or not state.knee_request_bytes:
        return False
    return state.written * state.efficiency < law.probe_answered * state.knee


def _quiet_s(state: State, law: Law) -> float:
    """Return for how long after a queue nothing is probed."""
    return law.quiet_s if state.knee_sure else law.unsure_quiet_s


def _agree(before: float | None, knee: float, law: Law) -> bool:
    return before is not None and min(before, knee) >= law.agreement * max(before, knee)


def _belief(state: State, knee: float, law: Law, *, sure: bool) -> tuple[float, bool]:
    """Return the best knee to believe in, and whether the one just seen is doubted.

    A volume that was made smaller shows itself twice, a hiccup once.
    """
    if state.mode is Mode.DRAIN:
        return max(state.best, law.proven * knee), state.doubted
    if knee >= law.collapse * state.best:
        return (knee if sure else max(law.proven * knee, (state.best + knee) / 2)), False
    return (knee, False) if state.doubted else (state.best, True)


def _settle(state: State, seen: Signals, law: Law) -> tuple[State, str]:
    if state.mode is not Mode.DRAIN:
        # Whoever starts, or comes back, is not met with a probe.
        state = replace(state, queue_seen_s=max(state.queue_seen_s, seen.now_s))
    if state.knee is not None and state.mode is Mode.DRAIN:
        # What emptied the queue was the device at its full speed: it can do that much at least.
        state = replace(state, knee=max(state.knee, law.proven * seen.delivered * state.unit_ratio))
    if state.knee is None:
        start = 1.0 if state.mode in (Mode.IDLE, Mode.ALONE, Mode.OPEN) else state.budget
        return replace(state, budget=min(state.budget, start), mode=Mode.SEEK), "the knee is not known yet"
    settling = state.mode is Mode.DRAIN
    return (
        replace(state, budget=_below_knee(state, law), settling=settling, mode=Mode.HOLD),
        "back to just below the knee",
    )


def _grow(state: State, seen: Signals, law: Law) -> tuple[State, str]:
    knee_budget = _below_knee(state, law)
    if state.knee is None:
        budget = state.budget * (1 + law.seek_growth * seen.span_s)
        return replace(state, budget=budget, mode=Mode.SEEK), "no queue, and lower classes want more"
    if state.doubted:
        reason = "asking whether the device really got slower"
        wanted = law.collapse * state.best
        if state.budget < wanted:
            budget = state.budget * (1 + law.return_growth * seen.span_s)
            return replace(state, budget=budget, returned=0, mode=Mode.SEEK), reason
        if state.returned < law.return_looks:
            return replace(state, returned=state.returned + 1, mode=Mode.SEEK), reason
        return replace(
            state, knee=state.best, doubted=False, mode=Mode.HOLD
        ), "the device can do it after all"
    if seen.now_s - state.queue_seen_s < _quiet_s(state, law):
        budget = min(knee_budget, state.budget * (1 + law.seek_growth * seen.span_s))
        return replace(state, budget=budget, mode=Mode.HOLD), "the knee was seen a moment ago"
    if state.budget * state.efficiency > law.probe_answered * state.knee * state.target_margin:
        state = replace(state, knee_sure=False)
    growth = law.probe_growth if state.knee_sure else law.seek_growth
    budget = max(state.budget, knee_budget) * (1 + growth * seen.span_s)
    return replace(state, budget=budget, mode=Mode.PROBE), "asking whether the device can do more"


def _bounded(state: State, seen: Signals, law: Law) -> State:
    floor = max(law.budget_min, seen.floor * max(state.best, state.knee or 0.0))
    budget = min(law.budget_max, max(floor, state.budget))
    moved = abs(budget - state.written) > law.quantum * state.written
    return replace(state, budget=budget, written=budget if moved else state.written)


def _capped(state: State, seen: Signals, law: Law, *, queueing: bool) -> State:
    """Take the last step of the ladder where the budget alone does not empty the device, and undo it."""
    if not (queueing and state.mode is Mode.DRAIN):
        if state.cap is None:
            return replace(state, stuck=0)
        cap = state.cap * (1 + law.cap_release * seen.span_s)
        done = not seen.protected_active or cap > 1.5 * max(1.0, state.knee or 0.0)
        return replace(state, stuck=0, cap=None if done else cap)
    stuck = state.stuck + 1
    if stuck % law.stuck_looks:
        return replace(state, stuck=stuck)
    lowest = seen.floor * max(1.0, state.knee or 0.0)
    return replace(state, stuck=stuck, cap=max(lowest, law.cap_step * (state.cap or state.knee or 1.0)))
