"""Our own policy: reduce a look to the law's signals, and its outcome to knobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from drcio_controller.config import (
    KERNEL_DEFAULT_WEIGHT,
    WEIGHT_MAX,
    Config,
    Engine,
    VolumeProfile,
)
from drcio_controller.engines.iocost import PAGE_BYTES, TICK_US, UNIT_BYTES, CostModel
from drcio_controller.kernel.parse import Limits
from drcio_controller.law import law as laws
from drcio_controller.law.decision import Decision, View
from drcio_controller.law.roles import split
from drcio_controller.pods.weights import clamp
from drcio_controller.window import Flow, Window

QUICK_LOOK_S: Final = 0.25
"""How soon to look again while something is about to happen: a queue grows for as long as nobody looks."""

LISTEN_S: Final = 0.05
LISTEN_SPREAD: Final = 0.4
"""A short look, longer or shorter by so much, or bursts of the same rhythm would never show."""
LISTEN_MOST_S: Final = 0.1
"""A look that is no longer shows how uneven the protected pods' I/O is, and nothing else."""
LISTEN_LOOKS: Final = 20
LISTEN_LOOKS_MOST: Final = 100
"""Short looks at protected pods of which nothing is known, several to an ordinary one; so many at most, where
they see little."""
LISTEN_AT_ONCE: Final = 5
LISTEN_EVERY_S: Final = 2.0
"""After those there is one so often: a quarter more looks than without."""

YIELDING_MEMORY_S: Final = 1.5
"""A lower class counts as doing I/O this long after its last one: under a small budget a large I/O
may wait longer than from one look to the next."""

PAUSE_LIMIT_S: Final = 10.0
PAUSE_MEMORY: Final = 0.98
PAUSE_EXPECTED_S: Final = 3.5
PAUSES_UNTIL_IDLE: Final = 2.0
"""A protected pod that pauses for up to 10 s at times is idle after twice its longest pause, which is
forgotten by 2% with each look at it; of one of which nothing is known yet a pause of 3.5 s is expected."""

NOISE: Final = 0.01
"""Of the device: less is nobody's I/O."""

OUTSIDE_LEAST: Final = 0.05
OUTSIDE_MEMORY: Final = 0.8
"""Of the device, what I/O outside of pods is at least; over some looks, as the device counts what ended
and the pods what began."""

CPU_BOUND_STALL: Final = 0.5
"""A pod whose tasks wait for a CPU this share of the time is slow for that reason."""

WAITING_STALL: Final = 0.5
"""A yielding pod some task of which waits for I/O this share of the time would do more."""

IOMAX_SHARE: Final = 0.45
"""Of the capacity: io.max lets a whole slice of 100 ms go at once (Linux 6.12), and more than half of one
does not fit into a volume's bucket beside the protected pods' I/O."""
WITHDRAWN: Final = frozenset({laws.Mode.LET_GO})
"""The law's states in which it has given up for a while what did not help."""
REACH_LESS: Final = 0.95
REACH_MORE: Final = 1.15
"""What the instance leaves a volume follows the other volumes' use: as the law's own budget does, it is taken
over where it is less by a twentieth or more by three of them."""
DIRECTION_SLACK: Final = 1.1
"""Reads and writes each have a limit: their part of what was seen, and so much more."""


class DrcioPolicy:
    """One device's law with its memory."""

    def __init__(self, config: Config, law: laws.Law | None = None) -> None:
        self._config = config
        self._law = law or laws.Law()
        self._state: laws.State | None = None
        self._protected_at_s = float("-inf")
        self._yielding_at_s = float("-inf")
        self._pause_s = PAUSE_EXPECTED_S
        self._outside_ios = 0.0
        self._outside_bytes = 0.0
        self._reach: VolumeProfile | None = None
        self._decision: Decision | None = None
        self._learning = False
        self._to_listen = 0
        self._listened = 0
        self._listened_at_s = float("-inf")

    def decide(self, view: View) -> Decision:
        view = self._within_the_instance(view)
        window, profile = view.window, view.profile
        if self._state is None:
            self._state = laws.initial(self._law, known=view.profile_known)
        protected, yielding = split(window.flows)
        if not protected and all(flow.pod.ranked_weight > KERNEL_DEFAULT_WEIGHT for flow in window.flows):
            # Nobody lighter among the pods, by now: who asked for more than they have is known before.
            protected, yielding = window.flows, ()
        if self._decision is not None and self._to_listen > 0 and window.span_s <= LISTEN_MOST_S:
            return self._listen(view, self._decision, protected, yielding)
        outside = self._sees_outside(window, profile)
        self._note_activity(window, protected, yielding, outside=outside)
        outcome = laws.step(self._state, self._signals(view, protected, yielding), self._law)
        self._state = outcome.state
        self._decision = _decision(view, outcome, protected, yielding)
        enough = LISTEN_LOOKS if laws.bursts_known(self._state) else LISTEN_LOOKS_MOST
        self._learning = any(flow.active for flow in protected) and self._listened < enough
        due = window.end_s - self._listened_at_s >= LISTEN_EVERY_S
        self._to_listen = LISTEN_AT_ONCE if self._learning else int(due)
        return self._with_next_look(self._decision, listened=False)

    def _listen(
        self, view: View, decision: Decision, protected: Sequence[Flow], yielding: Sequence[Flow]
    ) -> Decision:
        """Look at the protected pods alone; what was decided stands."""
        self._to_listen -= 1
        self._listened_at_s = view.window.end_s
        if any(flow.active for flow in protected):
            self._protected_at_s = view.window.end_s
        if self._state is not None:
            self._state = laws.listen(self._state, self._signals(view, protected, yielding), self._law)
            self._listened = self._state.short_looks
        return self._with_next_look(decision, listened=True)

    def _with_next_look(self, decision: Decision, *, listened: bool) -> Decision:
        if self._to_listen <= 0:
            # Several short ones took their part of the interval: as soon as it is long enough to decide by.
            return replace(decision, look_again_s=QUICK_LOOK_S) if self._learning and listened else decision
        # The fractions of the golden ratio's multiples are spread evenly.
        between = (self._listened + self._to_listen) * 0.618 % 1 - 0.5
        return replace(decision, look_again_s=LISTEN_S * (1 + 2 * LISTEN_SPREAD * between))

    def _signals(self, view: View, protected: Sequence[Flow], yielding: Sequence[Flow]) -> laws.Signals:
        window, profile = view.window, view.profile
        return laws.Signals(
            now_s=window.end_s,
            span_s=window.span_s,
            latency_s=None if window.latency_ms is None else window.latency_ms / 1000,
            delivered=work(profile, window.ios_per_s, window.bytes_per_s),
            queued_s=work(profile, window.in_flight, window.in_flight * window.request_bytes),
            read_s=1 / profile.iops,
            protected_active=window.end_s - self._protected_at_s <= self._idle_after_s,
            yielding_active=window.end_s - self._yielding_at_s <= YIELDING_MEMORY_S,
            yielding=_use(profile, yielding),
            protected=_use(profile, protected),
            smallest=used(profile, 1, PAGE_BYTES),
            largest=used(profile, 1, UNIT_BYTES),
            floor=self._config.floor_percent / 100,
            yielding_waits=any(
                flow.active and (flow.io_stall_ratio or 0.0) > WAITING_STALL for flow in yielding
            ),
            froze_s=view.froze_s,
            missed_target=_missed_target(view, protected),
        )

    def _within_the_instance(self, view: View) -> View:
        """Return the view with the profile that the instance's own limit leaves the volume.

        It changes in steps: each change is another model, whose write freezes the queue.
        """
        reach = view.reachable
        if self._reach is None or not _near(reach, self._reach):
            self._reach = reach
        return replace(view, profile=self._reach)

    @property
    def _idle_after_s(self) -> float:
        return max(self._config.idle_after_s, PAUSES_UNTIL_IDLE * self._pause_s)

    def _note_activity(
        self, window: Window, protected: Sequence[Flow], yielding: Sequence[Flow], *, outside: bool
    ) -> None:
        if any(flow.active for flow in protected):
            pause_s = window.end_s - self._protected_at_s
            if pause_s < PAUSE_LIMIT_S:
                self._pause_s = max(pause_s, self._pause_s * PAUSE_MEMORY)
            self._protected_at_s = window.end_s
        if any(flow.active for flow in yielding) or outside:
            self._yielding_at_s = window.end_s

    def _sees_outside(self, window: Window, profile: VolumeProfile) -> bool:
        """Say whether somebody in no pod does I/O: then the device does more than the pods ask for."""
        ios = window.ios_per_s - sum(flow.ios_per_s for flow in window.flows)
        size = window.bytes_per_s - sum(flow.bytes_per_s for flow in window.flows)
        new = 1 - OUTSIDE_MEMORY
        self._outside_ios = OUTSIDE_MEMORY * self._outside_ios + new * ios
        self._outside_bytes = OUTSIDE_MEMORY * self._outside_bytes + new * size
        return work(profile, max(0.0, self._outside_ios), max(0.0, self._outside_bytes)) > OUTSIDE_LEAST


def _near(reach: VolumeProfile, held: VolumeProfile) -> bool:
    ratios = (reach.iops / held.iops, reach.bytes_per_s / held.bytes_per_s)
    return all(REACH_LESS <= ratio <= REACH_MORE for ratio in ratios)


def work(profile: VolumeProfile, ios: float, total_bytes: float) -> float:
    """Return how long a volume is busy with that: it has two buckets, and one of them is the shorter."""
    return used(profile, ios, total_bytes).cost


def used(profile: VolumeProfile, ios: float, total_bytes: float) -> laws.Use:
    """Return what that is of each of the volume's buckets."""
    return laws.Use(max(ios, total_bytes / UNIT_BYTES) / profile.iops, total_bytes / profile.bytes_per_s)


def _decision(
    view: View,
    outcome: laws.Outcome,
    protected: Sequence[Flow],
    yielding: Sequence[Flow],
) -> Decision:
    state = outcome.state
    calm = state.mode in (laws.Mode.HOLD, laws.Mode.OPEN, laws.Mode.IDLE) and not state.queue_looks
    held = outcome.bound and state.mode not in (laws.Mode.IDLE, laws.Mode.OPEN)
    short_of_cpu = "; high priority is short of CPU, not of I/O" if _cpu_bound(protected) else ""
    return Decision(
        state=state.mode.value,
        reason=outcome.reason + short_of_cpu,
        withdrawn=outcome.reason if state.mode in WITHDRAWN else "",
        budget_ratio=outcome.budget_ratio,
        model=CostModel(
            io_s=outcome.price.units / view.profile.iops,
            page_s=outcome.price.bytes * PAGE_BYTES / view.profile.bytes_per_s,
        ),
        period_us=TICK_US * max(1, round(outcome.period_s * 1e6 / TICK_US)),
        device_weights=(
            _device_weights(protected, yielding, view.lately, outcome.protected_share)
            if view.engine is Engine.IOCOST
            else {}
        ),
        caps=_caps(view.profile, yielding, outcome) if held and view.engine is Engine.IOMAX else {},
        look_again_s=None if calm else QUICK_LOOK_S,
        terms=outcome.terms,
    )


def _work_of(profile: VolumeProfile, flows: Sequence[Flow]) -> float:
    return _use(profile, flows).cost


def _use(profile: VolumeProfile, flows: Sequence[Flow]) -> laws.Use:
    return used(profile, sum(flow.ios_per_s for flow in flows), sum(flow.bytes_per_s for flow in flows))


def _device_weights(
    protected: Sequence[Flow], yielding: Sequence[Flow], lately: Collection[str], share: float
) -> Mapping[str, int]:
    """Return what pods weigh on this device, so that the protected have their share and no more of it.

    Those who did I/O lately divide it among them; whoever pauses longer finds a weight by the same measure.
    """
    own = sum(flow.pod.weight or 0 for flow in _present(protected, lately))
    others = sum(
        KERNEL_DEFAULT_WEIGHT if flow.pod.weight is None else flow.pod.weight
        for flow in _present(yielding, lately)
    )
    if not own or not others:
        return {}
    factor = others * share / (1 - share) / own
    scale = min(1.0, WEIGHT_MAX / (factor * max(flow.pod.weight or 0 for flow in protected)))
    weights = {flow.pod.uid: clamp((flow.pod.weight or 0) * factor * scale) for flow in protected}
    if scale == 1.0:
        return weights
    # So many yield that the heaviest weight is not enough: they weigh less, by the same factor. What nobody
    # manages keeps its weight, and what is managed is not made up for it.
    lighter = {flow.pod.uid: clamp((flow.pod.weight or 0) * scale) for flow in yielding if flow.pod.managed}
    return weights | lighter


def _present(flows: Sequence[Flow], lately: Collection[str]) -> Sequence[Flow]:
    """Return those who did I/O lately; if none did, all of them, or what they miss would come at once."""
    return [flow for flow in flows if flow.pod.uid in lately] or flows


def _caps(profile: VolumeProfile, yielding: Sequence[Flow], outcome: laws.Outcome) -> Mapping[str, Limits]:
    """Divide what the yielding pods may have among those who do I/O, by what each did."""
    capacity = outcome.state.capacity or 1.0
    ratio = max(0.1, IOMAX_SHARE * capacity - outcome.state.demand)
    managed = [flow for flow in yielding if flow.pod.managed and flow.active]
    works = {flow.pod.uid: max(NOISE, _work_of(profile, [flow])) for flow in managed}
    return {
        flow.pod.uid: _limits(profile, flow, ratio * works[flow.pod.uid] / sum(works.values()))
        for flow in managed
    }


def _limits(profile: VolumeProfile, flow: Flow, ratio: float) -> Limits:
    read = max(
        flow.read_ios_per_s / max(flow.ios_per_s, 1e-9), flow.read_bytes_per_s / max(flow.bytes_per_s, 1e-9)
    )
    reads = min(1.0, max(0.1, DIRECTION_SLACK * read)) * ratio
    writes = min(1.0, max(0.1, DIRECTION_SLACK * (1 - read))) * ratio
    return Limits(
        rbps=max(1, round(profile.bytes_per_s * reads)),
        wbps=max(1, round(profile.bytes_per_s * writes)),
        riops=max(1, round(profile.iops * reads)),
        wiops=max(1, round(profile.iops * writes)),
    )


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
