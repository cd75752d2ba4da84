"""The law finds the knee, follows it, and squeezes nobody without cause."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drcio_controller.config import VolumeProfile
from drcio_controller.engines.iocost import period_us
from drcio_controller.policies.drcio import promised
from drcio_controller.policies.knee import Law, Mode, Outcome, Signals, State, initial, step
from drcio_controller.simulation import Load, Simulation, Volume

LAW = Law()
IDLE_AFTER_S = 2.2
GP3_BYTES_PER_S = 125 * 2**20


@dataclass
class Drive:
    """The law over a simulated volume; the looks are as far apart as the agent's."""

    simulation: Simulation
    state: State
    profile: VolumeProfile | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    high_seen_s: float = 0.0
    low_seen_s: float = float("-inf")

    def run(self, seconds: float) -> None:
        end_s = self.simulation.now_s + seconds
        while self.simulation.now_s < end_s - 1e-6:
            self.look(0.5 if self.state.mode is Mode.HOLD else 0.25)

    def look(self, span_s: float) -> None:
        sim = self.simulation
        sim.budget = self.state.written
        if self.profile:
            sim.period_s = period_us(self.profile, self.state.knee or 1.0, round(sim.period_s * 1e6)) / 1e6
        before = copy.copy(sim.totals)
        sim.run(span_s)
        now = sim.totals
        ios, size = now.ios - before.ios, now.total_bytes - before.total_bytes
        low_ios = now.low_ios - before.low_ios
        if now.high_ios > before.high_ios:
            self.high_seen_s = sim.now_s
        if low_ios:
            self.low_seen_s = sim.now_s
        per_io_s = max(0.0, 1 / sim.model_iops - 4096 / sim.model_bytes_per_s)
        signals = Signals(
            now_s=sim.now_s,
            span_s=span_s,
            latency_ms=(now.ticks_ms - before.ticks_ms) / ios if ios else None,
            requests=ios,
            used=(now.usage_s - before.usage_s) / span_s * self.state.written,
            delivered=(ios * per_io_s + size / sim.model_bytes_per_s) / span_s,
            queued_s=sim.queued_s / max(0.1, self.state.knee or 1.0),
            protected_active=sim.now_s - self.high_seen_s <= IDLE_AFTER_S,
            yielding_active=sim.now_s - self.low_seen_s <= 1.5,
            yielding_stall=(now.low_stall_s - before.low_stall_s) / span_s,
            yielding_request_bytes=(now.low_bytes - before.low_bytes) / max(1, low_ios),
            floor=0.1,
            promised=promised(self.profile, (now.low_bytes - before.low_bytes) / max(1, low_ios))
            if self.profile
            else None,
        )
        outcome = step(self.state, signals, LAW)
        self.state = outcome.state
        self.outcomes.append(outcome)


def drive(
    *, iops: float = 3000, mib_s: float = 125, block: int = 1 << 20, depth: int = 32, known: bool = True
) -> Drive:
    simulation = Simulation(
        volume=Volume(iops=iops, bytes_per_s=mib_s * 2**20),
        load=Load(block_bytes=block, depth=depth),
        model_iops=6000,
        model_bytes_per_s=GP3_BYTES_PER_S,
    )
    simulation.low_on = False
    result = Drive(simulation, initial(known=known), VolumeProfile(iops=3000, mib_s=125) if known else None)
    result.run(4)
    simulation.low_on = True
    return result


def fetch_p95_ms(simulation: Simulation, since_s: float) -> float:
    times = sorted(ms for started_s, ms in simulation.fetches if started_s >= since_s)
    return times[int(len(times) * 0.95)]


def low_mib_s(simulation: Simulation, run: Callable[[], None]) -> float:
    before, since_s = simulation.totals.low_bytes, simulation.now_s
    run()
    return (simulation.totals.low_bytes - before) / 2**20 / (simulation.now_s - since_s)


@pytest.mark.parametrize(
    ("block", "depth", "share", "p95_limit_ms"),
    [
        (1 << 20, 32, 0.88, 6.0),
        (256 << 10, 128, 0.88, 8.0),
        (64 << 10, 32, 0.88, 10.0),
        (4096, 32, 0.85, 12.0),
    ],
)
def test_low_priority_gets_nearly_all_and_high_keeps_its_latency(
    block: int, depth: int, share: float, p95_limit_ms: float
) -> None:
    run = drive(block=block, depth=depth)
    alone_p95_ms = fetch_p95_ms(run.simulation, 0.0)
    run.run(2)
    since_s = run.simulation.now_s

    achieved = low_mib_s(run.simulation, lambda: run.run(40))

    free = drive(block=block, depth=depth).simulation
    free.budget = None
    uncontrolled = low_mib_s(free, lambda: free.run(20))
    assert achieved >= share * uncontrolled
    assert alone_p95_ms < 2
    assert fetch_p95_ms(run.simulation, since_s) <= p95_limit_ms
    assert fetch_p95_ms(free, 4.0) > 1.5 * p95_limit_ms


@pytest.mark.parametrize(("iops", "mib_s"), [(6000, 250), (1500, 60)])
def test_volume_it_was_not_told_about_is_found(iops: float, mib_s: float) -> None:
    run = drive(iops=iops, mib_s=mib_s, known=False)
    run.run(30)
    since_s = run.simulation.now_s

    achieved = low_mib_s(run.simulation, lambda: run.run(20))

    assert achieved >= 0.85 * mib_s
    assert fetch_p95_ms(run.simulation, since_s) <= 12


@pytest.mark.parametrize(("iops", "mib_s"), [(6000, 250), (1500, 62.5)])
def test_volume_that_is_changed_while_it_runs_is_followed_within_30_s(iops: float, mib_s: float) -> None:
    run = drive()
    run.run(30)
    run.simulation.volume.iops = iops
    run.simulation.volume.bytes_per_s = mib_s * 2**20
    run.run(30)
    since_s = run.simulation.now_s

    achieved = low_mib_s(run.simulation, lambda: run.run(15))

    assert achieved >= 0.85 * mib_s
    assert fetch_p95_ms(run.simulation, since_s) <= 12


def test_latency_is_back_within_two_seconds_of_low_prioritys_first_io() -> None:
    run = drive()
    run.run(20)

    assert fetch_p95_ms(run.simulation, run.simulation.now_s - 18) <= 4


def test_device_opens_when_high_priority_stops() -> None:
    run = drive()
    run.run(20)
    run.simulation.high_on = False
    run.run(3.0)

    assert run.state.mode is Mode.OPEN
    assert low_mib_s(run.simulation, lambda: run.run(5)) >= 0.99 * 125


def test_knee_is_kept_for_when_high_priority_comes_back() -> None:
    run = drive()
    run.run(20)
    run.simulation.high_on = False
    run.run(20)
    run.simulation.high_on = True
    run.run(2)
    since_s = run.simulation.now_s
    run.run(12)

    assert fetch_p95_ms(run.simulation, since_s) <= 4


def test_high_priority_alone_is_never_held_back() -> None:
    run = drive()
    run.simulation.low_on = False
    run.run(3)
    run.simulation.load = Load(burst_reads=64, bursts_per_s=60)
    run.run(4)

    assert run.state.mode is Mode.ALONE
    assert run.state.written >= 4


def signals(**given_values: object) -> Signals:
    values: dict[str, object] = {
        "now_s": 100.0,
        "span_s": 0.5,
        "latency_ms": 1.0,
        "requests": 100.0,
        "used": 0.9,
        "delivered": 0.9,
        "queued_s": 0.0,
        "protected_active": True,
        "yielding_active": True,
        "yielding_stall": 0.9,
        "yielding_request_bytes": 1e6,
        "floor": 0.1,
    }
    return Signals(**{**values, **given_values})  # type: ignore[arg-type]  # a test's shorthand


def holding() -> State:
    return State(budget=1.0, written=1.0, knee=1.0, knee_request_bytes=1e6, base_ms=1.0, mode=Mode.HOLD)


def test_one_noisy_look_changes_nothing() -> None:
    outcome = step(holding(), signals(latency_ms=6.0), LAW)

    assert outcome.state.written == 1.0
    assert outcome.state.mode is Mode.HOLD


def test_second_look_with_a_queue_backs_off() -> None:
    once = step(holding(), signals(latency_ms=6.0), LAW).state

    assert step(once, signals(latency_ms=6.0), LAW).state.mode is Mode.DRAIN


def test_deep_queue_needs_no_second_look() -> None:
    outcome = step(holding(), signals(latency_ms=300.0, queued_s=0.2), LAW)

    assert outcome.state.mode is Mode.DRAIN
    assert outcome.state.written < 0.7


def test_queue_without_low_priority_io_squeezes_nobody() -> None:
    outcome = step(holding(), signals(latency_ms=300.0, yielding_active=False), LAW)

    assert outcome.state.mode is Mode.ALONE
    assert outcome.state.written >= 1.0


def test_low_priority_that_wants_no_more_is_not_given_more() -> None:
    state = holding()
    for look in range(200):
        state = step(state, signals(now_s=100.0 + look, used=0.2, yielding_stall=0.1), LAW).state

    assert state.written == 1.0


def test_missed_target_lowers_the_ceiling_only_while_a_queue_is_there() -> None:
    calm = step(holding(), signals(missed_target=True), LAW).state
    queueing = step(holding(), signals(missed_target=True, latency_ms=6.0), LAW).state

    assert calm.target_margin == 1.0
    assert queueing.target_margin < 1.0


def test_latency_of_a_device_that_does_little_is_the_hosts_and_squeezes_nobody() -> None:
    state = holding()
    for look in range(40):
        seen = signals(now_s=100 + look / 2, latency_ms=40.0, used=0.2, delivered=0.2)
        state = step(state, seen, LAW).state
        assert state.mode is not Mode.DRAIN

    assert state.written >= 1.0
    assert state.base_ms is not None
    assert state.base_ms > 20


def test_device_that_got_slower_is_told_by_what_is_in_flight() -> None:
    outcome = step(holding(), signals(latency_ms=300.0, used=0.2, delivered=0.2, queued_s=0.3), LAW)

    assert outcome.state.mode is Mode.DRAIN


def test_other_mix_forgets_the_knee() -> None:
    other = signals(yielding_request_bytes=4096.0)
    once = step(holding(), other, LAW).state
    assert once.knee is not None  # a program that starts reads a few small blocks
    assert step(once, other, LAW).state.knee is None


def test_other_mix_that_hardly_does_any_io_is_none() -> None:
    state = holding()
    for _ in range(5):
        state = step(state, signals(yielding_request_bytes=4096.0, used=0.05, delivered=0.05), LAW).state
    assert state.knee is not None


def test_known_profile_promises_a_knee_for_each_mix() -> None:
    profile = VolumeProfile(iops=3000, mib_s=125)
    promises = {size: promised(profile, size) for size in (4096, 65536, 1 << 20)}
    assert promises[4096] == pytest.approx(0.45, abs=0.01)  # IOPS count half in a model of twice the IOPS
    assert promises[65536] == pytest.approx(1.21, abs=0.01)
    assert promises[1 << 20] == 1.0
    assert promised(profile, 0) is None
    state = replace(holding(), knee=None, knee_request_bytes=0.0)
    after = step(state, signals(yielding_request_bytes=4096.0, promised=promises[4096]), LAW).state
    assert after.knee == pytest.approx(0.45 / LAW.margin, abs=0.02)


def test_knee_that_is_too_high_is_right_after_the_second_queue() -> None:
    run = drive()
    run.run(2)
    wrong = 1.25
    run.state = replace(run.state, knee=wrong, knee_request_bytes=float(1 << 20), budget=wrong, written=wrong)
    begun = len(run.outcomes)
    run.run(6)
    queues = [
        after
        for before, after in itertools.pairwise(outcome.state.mode for outcome in run.outcomes[begun:])
        if after is Mode.DRAIN is not before
    ]
    assert len(queues) <= 3
    settled = len(run.outcomes)
    run.run(LAW.quiet_s / 2)
    assert all(outcome.state.mode is Mode.HOLD for outcome in run.outcomes[settled:])
    assert low_mib_s(run.simulation, lambda: run.run(5)) >= 0.9 * 125


def test_one_looks_knee_is_doubted_sooner_and_quicker_than_one_that_two_queues_gave() -> None:
    def in_20_s_from_a_low_knee(*, sure: bool) -> float:
        run = drive(iops=6000, mib_s=250, known=False)
        run.run(2)
        low = replace(run.state, knee=0.8, knee_request_bytes=float(1 << 20), budget=0.76, written=0.76)
        run.state = replace(low, knee_sure=sure, queue_seen_s=run.simulation.now_s, mode=Mode.HOLD)
        return low_mib_s(run.simulation, lambda: run.run(20))

    assert in_20_s_from_a_low_knee(sure=False) > 1.3 * in_20_s_from_a_low_knee(sure=True)


def test_probe_that_meets_the_queue_where_one_look_saw_it_confirms_the_knee() -> None:
    run = drive(known=False)
    run.run(25)
    assert run.state.knee_sure
    assert run.state.knee == pytest.approx(1.0, abs=0.12)


def test_low_priority_alone_runs_at_full_speed_and_leaves_a_short_queue() -> None:
    run = drive()
    run.run(22)
    run.simulation.high_on = False
    run.run(6)
    assert low_mib_s(run.simulation, lambda: run.run(5)) >= 0.98 * 125
    since_s = run.simulation.now_s
    run.simulation.high_on = True
    run.run(2)
    first_ms = [ms for started_s, ms in run.simulation.fetches if started_s >= since_s]
    assert max(first_ms) < 80  # the batch job's depth would be 250


def test_queue_that_comes_past_the_budget_ends_in_a_cap_with_a_floor_and_a_way_back() -> None:
    state = holding()
    for look in range(200):
        seen = signals(now_s=100 + look / 4, span_s=0.25, latency_ms=200.0, queued_s=0.2, used=0.05)
        state = step(state, seen, LAW).state
    assert state.cap is not None
    assert state.cap >= 0.1 * (state.knee or 0.0)

    for look in range(400):
        state = step(state, signals(now_s=200 + look / 4, span_s=0.25), LAW).state
    assert state.cap is None


unit = st.floats(0, 1)
looks = st.lists(
    st.builds(
        signals,
        span_s=st.sampled_from([0.05, 0.25, 0.5, 5.0]),
        latency_ms=st.none() | st.floats(0, 10_000),
        requests=st.floats(0, 1e5),
        used=st.floats(0, 50),
        delivered=st.floats(0, 50),
        queued_s=st.floats(0, 100),
        protected_active=st.booleans(),
        yielding_active=st.booleans(),
        yielding_stall=st.none() | unit,
        yielding_request_bytes=st.floats(0, 1e7),
        missed_target=st.booleans(),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(looks, st.booleans())
def test_budget_stays_in_bounds_whatever_is_seen(seen: list[Signals], known: bool) -> None:
    state = initial(known=known)
    for index, look in enumerate(seen):
        before = state
        outcome = step(state, Signals(**{**_fields(look), "now_s": float(index)}), LAW)  # type: ignore[arg-type]
        state = outcome.state
        assert LAW.budget_min <= state.budget <= LAW.budget_max
        assert LAW.budget_min <= state.written <= LAW.budget_max
        assert 0.3 <= state.efficiency <= LAW.efficiency_max
        assert 0.5 < state.target_margin <= 1.0
        assert outcome.reason
        if state.mode is Mode.DRAIN:
            assert look.yielding_active
            assert look.protected_active
        if not look.yielding_active and state.mode is Mode.ALONE:
            assert state.budget >= min(before.budget, LAW.open_limit)


def _fields(look: Signals) -> dict[str, object]:
    return {name: getattr(look, name) for name in Signals.__slots__}


def test_hiccup_of_the_device_does_not_cost_low_priority_its_share_for_long() -> None:
    run = drive()
    run.run(20)
    volume = run.simulation.volume
    volume.bytes_per_s /= 10
    run.run(1)
    volume.bytes_per_s *= 10
    run.run(5)

    assert low_mib_s(run.simulation, lambda: run.run(5)) >= 0.8 * 125


def test_latency_that_no_used_up_budget_explains_is_not_blamed_at_once() -> None:
    state = holding()
    for look in range(LAW.idle_looks - 1):
        state = step(
            state, signals(now_s=100.0 + look, latency_ms=6.0, used=0.1, yielding_stall=0.1), LAW
        ).state

    assert state.mode is Mode.HOLD
    assert state.written == 1.0


def test_busy_moment_under_a_raised_volume_costs_a_probe_seconds_and_not_its_whole_way() -> None:
    run = drive()
    run.run(20)
    run.simulation.volume.iops *= 2
    run.simulation.volume.bytes_per_s *= 2
    while run.state.budget < 1.4:
        run.look(0.25)
    met = step(run.state, signals(now_s=run.simulation.now_s, latency_ms=6.0, delivered=1.2, used=1.2), LAW)
    assert met.state.mode is Mode.DRAIN
    run.state = met.state
    run.run(12)

    assert low_mib_s(run.simulation, lambda: run.run(5)) >= 0.8 * 250


def test_drain_allows_for_what_is_let_out_over_the_budget() -> None:
    exact, generous = (
        step(replace(holding(), efficiency=ratio), signals(latency_ms=30.0, queued_s=0.05), LAW).state
        for ratio in (1.0, 1.12)
    )

    assert exact.mode is generous.mode is Mode.DRAIN
    assert generous.written * 1.12 == pytest.approx(exact.written, rel=0.02)
