"""The law for one device: how much may be let in, who comes first, how far ahead a burst may be. Pure.

The design, with a picture of the states and the measurement behind each constant, is docs/law.md. In
short: a volume is two token buckets with a burst. iocost stands before it with a budget a little below
what the volume can do, so that whoever must wait waits on this node, by weight. The budget follows from
the volume's figures and the yielding pods' mix by arithmetic; only what the volume can do is learned,
downwards by the evidence of a queue, upwards by rare probes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

UNBOUND_RATIO: Final = 100.0
"""Times the profile: so much is no bound."""

READS_EXPECTED: Final = 16.0
"""Of a protected pod of which nothing is known yet: small reads that it does at once."""
SHORT_LOOKS_LEAST: Final = 10
HEARD_LEAST: Final = 3
"""So many short looks, and so many of them with I/O in them, say more than that expectation."""
LOOKS_EXPECTED: Final = 4.0
"""Ordinary looks that are taken to have been alike before the first."""
EMPTY_LEAST: Final = 0.25
"""Of the ordinary looks at the protected: where so many see nothing of them, the others see a burst each."""
LOOKS_REMEMBERED: Final = 40
RISEN: Final = 1.5
RISEN_LOOKS: Final = 8
"""So many ordinary looks one after the other, each with so many times what was the mean, are a load that has
begun or grown."""
NOISE: Final = 0.05
"""Of the profile: a mix of less says nothing about what comes next."""
ROUNDING: Final = 1e-9
QUIET: Final = 0.25
"""Of their demand: in a look with less the protected pause."""
SHARED_MEMORY_S: Final = 5.0
BUCKET_LEAST: Final = 0.02
"""Of the volume's bucket, what is reckoned with beside a burst that takes all of it."""
MOST_SHARE: Final = 0.95
LEAST_CAPACITY: Final = 0.05
"""Of the profile: a device that does less has stopped, which says nothing about what it can do."""


@dataclass(frozen=True, slots=True)
class Use:
    """Of a volume's two buckets, what is used, or what that is charged; each in multiples of the profile."""

    units: float = 0.0
    bytes: float = 0.0

    @property
    def cost(self) -> float:
        """Return what of the volume that is: the fuller bucket is the one that binds."""
        return max(self.units, self.bytes)

    @property
    def size(self) -> float:
        """Return how large its I/Os are, between 0 and 1; only the order counts."""
        return self.bytes / (self.units + self.bytes)

    def times(self, factor: float) -> Use:
        return Use(self.units * factor, self.bytes * factor)

    def plus(self, other: Use) -> Use:
        return Use(self.units + other.units, self.bytes + other.bytes)

    def at(self, price: Use) -> float:
        """Return what this is charged: iocost's model is linear, it adds up both."""
        return self.units * price.units + self.bytes * price.bytes


Seen = tuple[tuple[float, Use], ...]
"""When which mix was seen, in a measure of 1; only the extreme ones, of those that still count."""


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

    margin: float = 0.83
    """Of the capacity, what is let in while the protected do I/O."""
    margin_min: float = 0.65
    """The same where the protected come in bursts that need the volume's own bucket."""
    margin_apart: float = 0.9
    """What that nears where the protected use less and less of the bucket that everybody else fills."""
    withhold_step: float = 0.05
    withhold_often: float = 0.02
    """In so few of the looks the buckets may be found empty. Each such look lowers what is let in by a step,
    and the others raise it again by as much in all."""
    withhold_most: float = 0.3
    """More is never withheld: a device that is slow now and then by itself would cost all of it."""
    withhold_demand: float = 3.5
    """So many times what the protected use themselves is not withheld: their own bursts need it."""
    unseen: float = 0.75
    """Of what it costs, what I/O is charged at least of a size that nobody has done of late."""
    burst_tail: float = 1.5
    """So many times what the protected use of a bucket it is refilled by, for a burst that takes half of it:
    after ln(20) = 3 times the mean of what is missing in a queue of equal bursts at random, 5% are left."""
    bucket_s: float = 0.05
    """What the volume's burst bucket is trusted to hold, as time at its rate; EBS publishes no figure."""
    protected_share: float = 0.75
    """Of the budget, what the protected may take whenever they want it. More, and everybody else stands
    still in each burst and comes back at once; less, and the bursts themselves are held back."""
    demand_headroom: float = 1.5
    """That share is at least so many times what the protected use."""
    burst_factor: float = 10.0
    """How many bursts the protected may be ahead of their share: the next one may come early."""
    period_min_s: float = 0.032
    period_max_s: float = 0.4
    """iocost's period. Its timer is a tick late (4 ms with HZ=250), and what is given back for the period
    is given for the tick as well: an eighth too much at 32 ms, a third at 12."""
    burst_memory_s: float = 20.0
    """Over so long the protected's demand and its unevenness are averaged; the largest burst is
    remembered three times as long."""
    mix_memory_s: float = 40.0
    """What the yielding pods did within so long is not charged less than it costs."""
    rewrite: float = 0.3
    rewrite_s: float = 10.0
    """A price that is too low by a third of this is mended, one that is too high by all of it, or after
    so long by less and less; a period that is half as long again. Each such write freezes the queue
    until it is empty."""
    freeze_rest: float = 10.0
    """A freeze is a wait for the protected as well. A write that no queue and no probe asks for comes so many
    times as long after the one before as that has frozen the queue."""
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
    """A probe lets in so many times what is let in towards a told volume's figures, or times the capacity of
    any other; for so long at most, as less fits into the bucket."""
    probe_first_s: float = 10.0
    probe_last_s: float = 240.0
    """From one probe to the next; doubled by each that met the queue."""
    alone_lift: float = 4.0
    """Of the capacity: where the protected are alone and need more than the budget, and after letting go."""
    gain_most: float = 1.35
    """iocost lets in less than it is told: what the protected leave of their share it gives back late, and it
    charges them for a bucket that nobody else fills. So many times the budget is told at most, where the
    protected are apart from everybody else."""
    gain_s: float = 2.0
    """So long the yielding pods have to wait before what is let in is believed to be all that comes."""
    gain_way: float = 2 / 3
    """Of the way to a higher gain at a time: what was measured in so short a time is rough, and a queue of
    too much costs more than a second with too little."""
    gain_rough: float = 0.1
    """In so long as `gain_s` that is the error of its measurement, and less the longer it is measured: a gain
    that is higher by less may be none, and each error would raise it."""
    gain_step: float = 0.05
    """A gain that is lower by less than that is not worth a write."""
    filling_factor: float = 2.0
    """Where I/O takes so many times as long as it did, the buckets are empty at times: a gain was too much, a
    probe has met what it looked for, and none is begun."""
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
    read_s: float
    """Work of one small read."""
    protected_active: bool
    yielding_active: bool
    yielding: Use = Use()
    """Per second, what the yielding pods did."""
    protected: Use = Use()
    smallest: Use = Use(1.0, 0.1)
    largest: Use = Use(0.2, 1.0)
    """The mixes of the smallest and of the largest I/O that the device takes."""
    floor: float = 0.1
    """Of the capacity: the least that is ever let in."""
    yielding_waits: bool = False
    """Yielding pods wait for their I/O most of the time: they would do more if they could."""
    froze_s: float = 0.0
    """How long the last write of price or period has frozen the queue."""
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
    active_s: float = 0.0
    """How long they were looked at while they were active."""
    rise_looks: int = 0
    """Ordinary looks one after the other that each had well over the mean before them."""
    rise_from: float = 0.0
    """That mean."""
    rise_s: float = 0.0
    rise_work_s: float = 0.0
    """How long those looks and the short ones between them were, and what the protected did in all."""
    unevenness: float = 0.0
    """Mean square of the work's deviation in an ordinary look, per second."""
    largest_s: float = 0.0
    """Work of the largest burst that was seen, by now."""
    empty: float = 0.0
    """Of the ordinary looks, those in which they did nothing."""
    ordinary_looks: int = 0
    short_looks: int = 0
    heard: int = 0
    """Of the short looks, those in which they did something."""
    heard_enough: bool = False
    """Their bursts are known, and the price was made anew for that."""
    burst_s: float = 0.0
    """Work of the largest burst of the protected that is remembered."""
    looks: int = 0
    """At the protected while they were active."""
    small: Seen = ()
    large: Seen = ()
    """The mixes of the smallest and of the largest I/O of the yielding pods, and of all together."""
    delivered: float = 0.0
    """In the last look."""
    queue_looks: int = 0
    drain_looks: int = 0
    capacity_before: float | None = None
    """What was believed when a drain began."""
    raised_from: float | None = None
    """What was believed before the last probe that met no queue; None once it met one, or stood."""
    let_in: float = 1.0
    """Of the profile, what the yielding pods' mix may use by the budget in force."""
    aim: float | None = None
    """What everybody together was meant to use by the budget in force, in multiples of the profile."""
    gain: float = 1.0
    """So many times the budget is told."""
    gain_limit: float = math.inf
    """No more than that, since a queue came of more."""
    filled_s: float = 0.0
    """So long yielding pods waited with the gain in force."""
    filled: float = 1.0
    """Of the aim, what was used meanwhile."""
    filled_lately: float = 1.0
    """The same of the last seconds: what is too much is taken back sooner than more is given."""
    probed_at_s: float = 0.0
    """When the last probe began, or ended, or a queue was seen."""
    probe_wait_s: float = 0.0
    let_go_until_s: float = -math.inf
    price: Use | None = None
    """In force."""
    priced_at_s: float = -math.inf
    """Since when price and period are in force."""
    charged: float = 1.2
    """What a second of the device costs the protected, in seconds of iocost's budget."""
    shared: float | None = None
    """Of what the protected use, what is of the bucket that the yielding pods fill."""
    withheld: float = 0.0
    """Of the capacity, what less is let in than by reckoning, since the buckets were found empty."""
    withheld_before: float = 0.0
    """The same before the looks that have found them empty one after the other."""
    empty_looks: int = 0
    """So many are those looks."""
    vain_looks: int = 0
    """So many have found them empty since about as much is withheld as may be."""
    withhold_from_s: float = -math.inf
    """Until then nothing is withheld, as it did not help."""
    period_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What must hold."""

    state: State
    reason: str
    price: Use
    """Of what fills a bucket of the profile in a second: seconds of iocost's budget."""
    budget_ratio: float
    """Of the profile, what the yielding pods may use if nobody else does I/O."""
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
    state = listen(state, seen, law, short=False)
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
    confirmed = deep or state.queue_looks >= law.queue_looks
    if state.mode is Mode.PROBE:
        # It expects to meet a queue, and one that came and went was one; elsewhere one look may be noise.
        confirmed = _filling(state, seen, law)
    state = _gain(state, seen, law, confirmed=confirmed)
    state = _withhold(state, seen, law)
    before = state.mode
    state, reason, level = _decide(state, seen, law, confirmed=confirmed)
    state = replace(state, delivered=seen.delivered)
    rests = before is Mode.HOLD is state.mode and not _rested(state, seen, law)
    return _outcome(state, seen, law, reason, level, rests=rests)


def limit_s(state: State, law: Law) -> float:
    """Return over what a mean time in the device may be a queue."""
    return (state.base_s or 0.0) * law.queue_factor + law.queue_slack_s


def protected_share(state: State, law: Law) -> float:
    """Return which share of the budget the protected may take."""
    budget = law.margin * (state.capacity or 1.0)
    return min(MOST_SHARE, max(law.protected_share, law.demand_headroom * state.demand / budget))


def wanted_period_s(state: State, law: Law) -> float:
    """Return iocost's period in which the protected's credit, half of it, holds their bursts."""
    # Beyond this a low margin would lengthen the period, and the longer period lower the margin.
    charged = min(state.charged, 1 / (law.margin - state.withheld))
    wanted_s = law.burst_factor * state.burst_s * charged / protected_share(state, law)
    return min(law.period_max_s, max(law.period_min_s, wanted_s))


def margin(state: State, law: Law) -> float:
    """Return which part of the capacity is let in.

    What the protected leave of their share, iocost gives back in the next period, at up to the budget
    times 1 + share. What that is over the capacity has to fit into the volume's bucket, beside a burst.
    And what a burst takes out of the bucket has to be there again before the next one. What that reckoning
    leaves out shows in the bucket, and is withheld.
    """
    room_s = max(0.0, law.bucket_s - state.burst_s)
    fits = (1 + room_s / max(state.period_s, law.period_min_s)) / (1 + protected_share(state, law))
    shared = _or_all(state.shared)
    burst_s, demand = state.burst_s * shared, state.demand * shared
    refilled = 1 - law.burst_tail * demand * burst_s / max(
        law.bucket_s - burst_s, BUCKET_LEAST * law.bucket_s
    )
    most = law.margin + (law.margin_apart - law.margin) * _apart(state)
    level = max(law.margin_min, min(most, fits, refilled))
    least = max(law.drain_floor, law.withhold_demand * state.demand / (state.capacity or 1.0))
    return max(min(level, least), level - state.withheld)


def _apart(state: State) -> float:
    """Return how far apart the protected and the yielding pods are: 1 where they fill different buckets.

    Of a volume whose capacity is learned nobody knows what its buckets hold, nor which one was full.
    """
    return (1 - _or_all(state.shared)) ** 2 if state.capacity == state.ceiling else 0.0


def _or_all(part: float | None) -> float:
    return 1.0 if part is None else part


def listen(state: State, seen: Signals, law: Law, *, short: bool = True) -> State:
    """Learn what the protected use, and how large their bursts are.

    Of bursts that follow each other many times in an ordinary look each such look has about as many. Where
    they come at random their work is the variance over the mean (the index of dispersion), whatever the
    length of a look; where they come regularly all looks are alike, and only a look that is shorter than
    from one to the next shows a burst: as what is in it beyond the mean.
    """
    if not state.looks:
        state = replace(state, burst_s=seen.read_s * READS_EXPECTED)
    # Through a queue comes what the queue lets through, which says nothing about what they want.
    if not seen.protected_active or _slow(state, seen, law):
        return state
    if state.looks < 2:
        # They began somewhere within the first look.
        return replace(state, demand=seen.protected.cost, active_s=seen.span_s, looks=state.looks + 1)
    before = state.demand
    active_s = min(law.burst_memory_s, state.active_s + seen.span_s)
    demand = state.demand + min(1.0, seen.span_s / active_s) * (seen.protected.cost - state.demand)
    state = replace(state, demand=demand, active_s=active_s, looks=state.looks + 1)
    beyond_s = (seen.protected.cost - demand) * seen.span_s
    largest_s = state.largest_s * (1 - min(1.0, seen.span_s / (3 * law.burst_memory_s)))
    if short:
        state = replace(
            state,
            largest_s=max(beyond_s, largest_s),
            short_looks=state.short_looks + 1,
            heard=state.heard + (seen.protected.cost > 0),
            rise_s=state.rise_s + seen.span_s,
            rise_work_s=state.rise_work_s + seen.protected.cost * seen.span_s,
        )
    else:
        weight = 1 / (min(state.ordinary_looks, LOOKS_REMEMBERED) + 1 + LOOKS_EXPECTED)
        unevenness = state.unevenness + weight * (beyond_s**2 / seen.span_s - state.unevenness)
        empty = state.empty + weight * ((seen.protected.cost <= 0) - state.empty)
        burst_s = unevenness / demand if demand > 0 else 0.0
        if empty > EMPTY_LEAST:
            # One to a look at the most: then the mean is a part of it, and not of many.
            burst_s += demand * seen.span_s
        state = replace(
            state,
            unevenness=unevenness,
            empty=empty,
            largest_s=max(largest_s, burst_s),
            ordinary_looks=state.ordinary_looks + 1,
        )
        state = _risen(state, seen, law, before)
    if not bursts_known(state):
        return replace(state, burst_s=max(seen.read_s * READS_EXPECTED, state.largest_s))
    state, first = replace(state, burst_s=state.largest_s, heard_enough=True), not state.heard_enough
    # Price and period in force were made for bursts that were only expected.
    return replace(state, price=None, period_s=wanted_period_s(state, law)) if first else state


def _risen(state: State, seen: Signals, law: Law, before: float) -> State:
    """Begin to listen anew where the protected have done more than the mean for so long that it is no burst.

    The mean is late, and beside it all that a load does that has begun or grown looks like a burst.
    """
    if state.rise_looks:
        before = state.rise_from
    if seen.protected.cost <= RISEN * before or state.rise_s > law.burst_memory_s:
        return replace(state, rise_looks=0, rise_s=0.0, rise_work_s=0.0)
    since = state if state.rise_looks else replace(state, rise_s=0.0, rise_work_s=0.0)
    state = replace(
        state,
        rise_looks=state.rise_looks + 1,
        rise_from=before,
        rise_s=since.rise_s + seen.span_s,
        rise_work_s=since.rise_work_s + seen.protected.cost * seen.span_s,
    )
    # A burst that comes in the rhythm of the ordinary looks is in each of them, and in no short one.
    if state.rise_looks < RISEN_LOOKS or state.rise_work_s <= RISEN * before * state.rise_s:
        return state
    return replace(
        state,
        demand=state.rise_work_s / state.rise_s,
        active_s=state.rise_s,
        rise_looks=0,
        unevenness=0.0,
        largest_s=0.0,
        empty=0.0,
        ordinary_looks=0,
        short_looks=0,
        heard=0,
        heard_enough=False,
    )


def bursts_known(state: State) -> bool:
    """Say whether enough was heard of the protected to know their bursts."""
    return state.short_looks >= SHORT_LOOKS_LEAST and state.heard >= HEARD_LEAST


def _mix(state: State, seen: Signals, law: Law) -> State:
    """Remember which mixes the yielding pods do, and which come of it beside the protected's."""
    own, others = seen.protected, seen.yielding
    if others.cost <= NOISE:
        return state
    if not state.small:
        # The price in force was made without knowing whom it is for.
        state = replace(state, price=None)
    small, large = state.small, state.large
    for mix in (others, others.plus(own)):
        unit = mix.times(1 / mix.cost)
        small = _remembered(small, unit, seen.now_s, law, lambda one: one.size)
        large = _remembered(large, unit, seen.now_s, law, lambda one: -one.size)
    return replace(state, small=small, large=large, shared=_shared(state, seen))


def _shared(state: State, seen: Signals) -> float | None:
    """Return what of the protected's use is of the bucket that the yielding pods fill."""
    own, others = seen.protected, seen.yielding
    if own.cost <= 0:
        return state.shared
    part = (own.bytes if others.bytes >= others.units else own.units) / own.cost
    if state.shared is None:
        return part
    return state.shared + (part - state.shared) * min(1.0, seen.span_s / SHARED_MEMORY_S)


def _remembered(mixes: Seen, newest: Use, now_s: float, law: Law, order: Callable[[Use], float]) -> Seen:
    """Return the mixes of which no later one is more extreme; the first is the most extreme.

    Where all are old nobody has yielded since, and whoever comes back is likely to be as before.
    """
    kept = tuple(
        (at_s, mix) for at_s, mix in mixes if at_s > now_s - law.mix_memory_s and order(mix) < order(newest)
    )
    return (*kept, (now_s, newest))


def _wanted_price(state: State, seen: Signals, law: Law) -> Use:
    """Return the price at which what is done now is cheapest, but nothing that was seen below its cost.

    The volume has two buckets side by side, and iocost's model adds up what is taken from both. So a model
    that is right for all sizes at once charges too much for most of them. This one is right for what is
    there, and no more than `unseen` below what comes as a surprise.
    """
    extremes = [mix.times(1 / mix.cost) for mix in (seen.smallest, seen.largest)]
    bounds = [(mixes[0][1], 1.0) for mixes in (state.small, state.large) if mixes]
    least = law.unseen if bounds else 1.0
    bounds += [(mix, least) for mix in extremes]
    now = seen.yielding.plus(seen.protected)
    if now.cost <= NOISE:
        now = bounds[-1][0]
    prices = [
        price
        for one, other in itertools.combinations([*bounds, *((mix, 1.0) for mix in extremes)], 2)
        if (price := _price(one, other)) is not None
        and all(mix.at(price) >= charge * (1 - ROUNDING) for mix, charge in bounds)
        and all(mix.at(price) <= 1 + ROUNDING for mix in extremes)
    ]
    return min(prices, key=now.at, default=Use(1.0, 1.0))


def _price(one: tuple[Use, float], other: tuple[Use, float]) -> Use | None:
    """Return the price at which two mixes are charged so much; None where there is none."""
    (a, a_charge), (b, b_charge) = one, other
    determinant = a.units * b.bytes - a.bytes * b.units
    if abs(determinant) < ROUNDING:
        return None
    units = (a_charge * b.bytes - b_charge * a.bytes) / determinant
    size = (b_charge * a.units - a_charge * b.units) / determinant
    return Use(units, size) if units >= 0 and size >= 0 else None


def _gain(state: State, seen: Signals, law: Law, *, confirmed: bool) -> State:
    """Measure what comes of the budget while yielding pods wait for it, and tell iocost so much more.

    What was too much is remembered: that is the limit, and it is forgotten as slowly as probes go.
    """
    most = min(state.gain_limit, 1 + (law.gain_most - 1) * _apart(state))
    if state.gain > 1 and (confirmed or _filling(state, seen, law)):
        return _less_gain(state, 1 + (state.gain - 1) / 2, law)
    if seen.protected.cost < QUIET * state.demand:
        # Nothing of what they leave of their share is late where they leave all of it.
        most = 1.0
    if state.gain > most + law.gain_step:
        return replace(state, gain=most, filled_s=0.0, price=None)
    aim, both = state.aim, seen.yielding_active and seen.protected_active
    if state.mode is not Mode.HOLD or aim is None or not both or most == 1.0:
        return replace(state, filled_s=0.0)
    forgotten = (law.gain_most - 1) * seen.span_s / law.probe_last_s
    state = replace(state, gain_limit=min(law.gain_most, state.gain_limit + forgotten))
    filled = seen.delivered / aim
    satisfied = filled < 1 and not seen.yielding_waits
    if satisfied or seen.delivered < LEAST_CAPACITY:
        return state
    filled_s = min(2 * law.gain_s, state.filled_s + seen.span_s)
    mean = state.filled + (filled - state.filled) * min(1.0, seen.span_s / filled_s)
    lately_s = min(law.gain_s, filled_s)
    lately = state.filled_lately + (filled - state.filled_lately) * min(1.0, seen.span_s / lately_s)
    state = replace(state, filled=mean, filled_lately=lately, filled_s=filled_s)
    if lately > 1 + law.gain_step and state.gain > 1:
        return _less_gain(state, state.gain / lately, law)
    gain = min(most, state.gain / mean)
    # The longer it was measured the smaller is the error.
    if (
        filled_s < law.gain_s
        or not _rested(state, seen, law)
        or gain < state.gain + law.gain_rough * law.gain_s / filled_s
    ):
        return state
    return replace(state, gain=state.gain + law.gain_way * (gain - state.gain), filled_s=0.0, price=None)


def _less_gain(state: State, gain: float, law: Law) -> State:
    if gain < 1 + law.gain_step:
        gain = 1.0
    return replace(state, gain=gain, gain_limit=gain, filled_s=0.0, price=None)


def _withhold(state: State, seen: Signals, law: Law) -> State:
    """Hold back more of the capacity the more often the buckets are empty, until they hardly ever are.

    What iocost gives back late, and then lets through at once, no reckoning knows for all mixes. A device
    that is slow by itself is so in each look, or however much is withheld: then all of it is given back.
    """
    if not (seen.protected_active and seen.yielding_active):
        kept = 1 - min(1.0, seen.span_s / law.probe_last_s)
        return replace(state, withheld=state.withheld * kept, empty_looks=0, vain_looks=0)
    pausing = seen.protected.cost < QUIET * state.demand
    if state.mode is not Mode.HOLD or pausing or seen.latency_s is None:
        return replace(state, empty_looks=0)
    if not _filling(state, seen, law):
        back = law.withhold_step * law.withhold_often / (1 - law.withhold_often)
        return replace(state, withheld=max(0.0, state.withheld - back), empty_looks=0)
    if seen.now_s - seen.span_s <= state.priced_at_s or seen.now_s < state.withhold_from_s:
        # What the budget before left in the device is not this one's.
        return state
    looks = state.empty_looks + 1
    since = state.withheld_before if state.empty_looks else state.withheld
    if looks >= law.drain_looks and not _slow(state, seen, law):
        return replace(state, withheld=since, empty_looks=0, base_s=seen.latency_s)
    vain = state.vain_looks + 1 if state.withheld > law.withhold_most - law.withhold_step else 0
    if vain >= law.drain_looks:
        until_s = seen.now_s + law.let_go_s
        return replace(state, withheld=0.0, empty_looks=0, vain_looks=0, withhold_from_s=until_s)
    withheld = min(law.withhold_most, state.withheld + law.withhold_step)
    return replace(state, withheld=withheld, withheld_before=since, empty_looks=looks, vain_looks=vain)


def _filling(state: State, seen: Signals, law: Law) -> bool:
    """Return whether the buckets are empty at times: no queue yet, and I/O takes longer than it did."""
    return _over(law.filling_factor * (state.base_s or 0.0), state, seen)


def _slow(state: State, seen: Signals, law: Law) -> bool:
    """Return whether I/O takes so long that requests may wait for each other in the device."""
    return _over(limit_s(state, law), state, seen)


def _over(bound_s: float, state: State, seen: Signals) -> bool:
    """Return whether I/O takes longer than `bound_s`; of a device not seen before nobody knows."""
    return seen.latency_s is not None and state.base_s is not None and seen.latency_s > bound_s


def _queueing(state: State, seen: Signals, law: Law) -> bool:
    """Say whether requests seem to wait in the device for each other: they take long, and are still there.

    What completed may have waited in a queue that is gone by now.
    """
    if not _slow(state, seen, law) or seen.latency_s is None:
        return False
    return seen.queued_s / max(seen.delivered, LEAST_CAPACITY) >= 0.5 * seen.latency_s


def _drained(state: State, seen: Signals, law: Law) -> State:
    """Take what came out of a queue that was there all the time for what the device can do.

    Whether it was nobody knows: it may have been gone before the last requests came. So what the device
    did in the look before, when the queue was seen, counts as well.
    """
    there = _slow(state, seen, law) and seen.queued_s > law.queue_slack_s
    most = max(state.delivered, seen.delivered)
    # As much as was believed, within the measurement's roughness, lowers nothing.
    if not there or state.capacity is None or most >= law.rough * state.capacity:
        return state
    delivered = max(LEAST_CAPACITY, law.rough * most)
    wait_s = min(law.probe_last_s, 2 * state.probe_wait_s)
    return replace(state, capacity=delivered, probed_at_s=seen.now_s, probe_wait_s=wait_s)


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
    known = state.small or bursts_known(state)
    return state, "nobody has to yield", margin(state, law) if known else 1.0


def _believed(state: State, seen: Signals, law: Law) -> State:
    """Take what a device with a queue delivers for what it can do: at first, or after a probe."""
    delivered = min(state.ceiling, max(LEAST_CAPACITY, law.rough * seen.delivered))
    if state.capacity is None:
        full = state.queue_looks >= law.queue_looks
        return replace(state, capacity=delivered if full else None, probed_at_s=seen.now_s)
    wait_s = min(law.probe_last_s, 2 * state.probe_wait_s)
    if state.mode is Mode.PROBE:
        capacity = max(state.capacity, delivered)
        return replace(state, capacity=capacity, probe_wait_s=wait_s, probed_at_s=seen.now_s)
    if state.raised_from is not None:
        # What a probe did not meet has come since: the raise was too much.
        return replace(
            state,
            capacity=state.raised_from,
            raised_from=None,
            probe_wait_s=wait_s,
            probed_at_s=seen.now_s,
        )
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
    level = margin(state, law)
    # What a told volume promises is its ceiling: towards that a small step over what is let in will do.
    # Of any other a probe has to show more than was ever seen.
    probing = law.probe_step * (level if math.isfinite(state.ceiling) else 1.0)
    if state.mode is Mode.PROBE and since_s < law.probe_s:
        return state, "asking whether the device can do more", probing
    if state.mode is Mode.PROBE:
        capacity = min(state.ceiling, capacity * law.probe_step)
        wait_s = law.probe_first_s / 4
        state = replace(
            state,
            capacity=capacity,
            raised_from=state.capacity,
            probe_wait_s=wait_s,
            probed_at_s=seen.now_s,
        )
        since_s = 0.0
    if seen.missed_target:
        level = min(level, law.margin_min)
    level = max(level, seen.floor)
    wanted = seen.delivered > 0.9 * (level + state.withheld) * capacity and not _filling(state, seen, law)
    may = capacity < state.ceiling and _rested(state, seen, law)
    if may and wanted and since_s > state.probe_wait_s and not seen.missed_target:
        state = replace(state, mode=Mode.PROBE, probed_at_s=seen.now_s)
        return state, "asking whether the device can do more", probing
    return replace(state, mode=Mode.HOLD, drain_looks=0), "a little below what the device can do", level


def _rested(state: State, seen: Signals, law: Law) -> bool:
    """Return whether the last write is so long ago that another costs the protected little of their time."""
    return seen.now_s - state.priced_at_s >= law.freeze_rest * seen.froze_s


def _outcome(
    state: State, seen: Signals, law: Law, reason: str, level: float | None, *, rests: bool
) -> Outcome:
    """Turn the level into a budget, and leave what is in force where the difference is small.

    Where it `rests`, it is left whatever the difference: the last write froze the queue for too long.
    """
    wanted_s, period_s = wanted_period_s(state, law), state.period_s
    if not period_s or not (rests or 1 / 1.5 <= wanted_s / period_s <= 1.5):
        period_s = wanted_s
        state = replace(state, priced_at_s=seen.now_s)
    aim = None if level is None else level * (state.capacity or 1.0)
    ratio = UNBOUND_RATIO if aim is None else aim
    if state.mode in (Mode.HOLD, Mode.PROBE):
        ratio *= state.gain
    wanted = _wanted_price(state, seen, law).times(1 / ratio)
    price = state.price
    if price is None or not (rests or _good_enough(price, wanted, state, seen, law)):
        price = wanted
        state = replace(state, priced_at_s=seen.now_s)
    mix = state.large[0][1] if state.large else seen.largest
    let_in = mix.cost / mix.at(price)
    if seen.protected.cost > 0 and level is not None:
        state = replace(state, charged=seen.protected.at(price) / seen.protected.cost)
    state = replace(state, price=price, period_s=period_s, let_in=let_in, aim=aim)
    return Outcome(
        state=state,
        reason=reason,
        price=price,
        budget_ratio=let_in,
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
            "gain": state.gain,
            "withheld": state.withheld,
            "units_price": price.units,
            "bytes_price": price.bytes,
        },
    )


def _good_enough(price: Use, wanted: Use, state: State, seen: Signals, law: Law) -> bool:
    """Say whether the price in force is near enough to what is wanted: each write freezes the queue."""
    mixes = [mixes[0][1] for mixes in (state.small, state.large) if mixes] or [seen.smallest, seen.largest]
    if any(mix.at(price) < (1 - law.rewrite / 3) * mix.at(wanted) for mix in mixes):
        return False
    now = seen.yielding.plus(seen.protected)
    since_s = seen.now_s - state.priced_at_s
    most = 1 + law.rewrite * min(1.0, law.rewrite_s / max(since_s, ROUNDING))
    return all(mix.at(price) <= most * mix.at(wanted) for mix in ([now] if now.cost > NOISE else mixes))
