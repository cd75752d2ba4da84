"""The law bounds nobody by a guess, believes a queue and nothing else, and lets go what it cannot help."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drcio_controller.policies.law import (
    UNBOUND_RATIO,
    Law,
    Mode,
    Outcome,
    Signals,
    State,
    initial,
    limit_s,
    margin,
    protected_share,
    step,
)

LAW = Law()
READ_S = 1 / 3000
CALM = Signals(
    now_s=100.0,
    span_s=0.5,
    latency_s=0.001,
    delivered=0.8,
    queued_s=0.001,
    protected_work=0.05,
    read_s=READ_S,
    protected_active=True,
    yielding_active=True,
    mix_ratio=1.0,
)
QUEUE = replace(CALM, latency_s=0.3, delivered=0.7, queued_s=0.25)


def looks(state: State, seen: Signals, count: int) -> Outcome:
    outcome = step(state, seen, LAW)
    for index in range(1, count):
        outcome = step(outcome.state, replace(seen, now_s=seen.now_s + index * seen.span_s), LAW)
    return outcome


def holding(*, known: bool = True) -> State:
    state = looks(initial(LAW, known=known), replace(CALM, now_s=50.0), 20).state
    return state if known else replace(state, capacity=1.0)


def test_known_volume_is_held_a_little_below_what_it_can_do() -> None:
    outcome = looks(initial(LAW, known=True), CALM, 10)

    assert outcome.state.mode is Mode.HOLD
    assert 0.7 <= outcome.budget_ratio <= 0.85


def test_guess_never_binds() -> None:
    outcome = looks(initial(LAW, known=False), CALM, 100)

    assert outcome.state.mode is Mode.UNBOUND
    assert outcome.budget_ratio == UNBOUND_RATIO
    assert not outcome.bound


def test_queue_on_an_unknown_volume_says_what_it_can_do() -> None:
    calm = looks(initial(LAW, known=False), CALM, 4).state

    outcome = looks(calm, replace(QUEUE, delivered=2.0, queued_s=0.6), 2)

    assert outcome.state.capacity == pytest.approx(2.0 * LAW.rough)
    assert outcome.state.mode is Mode.DRAIN
    assert outcome.budget_ratio < 2.0


def test_one_slow_look_changes_nothing() -> None:
    outcome = step(holding(), replace(CALM, latency_s=0.012, queued_s=0.012), LAW)

    assert outcome.state.mode is Mode.HOLD
    assert outcome.state.capacity == 1.0


def test_deep_queue_is_drained_at_once_and_no_capacity_is_taken_from_its_first_look() -> None:
    outcome = step(holding(), QUEUE, LAW)

    assert outcome.state.mode is Mode.DRAIN
    assert outcome.budget_ratio < 0.5
    assert outcome.state.capacity == 1.0


def test_queue_that_stays_lowers_the_capacity_to_what_is_delivered() -> None:
    outcome = looks(holding(), replace(QUEUE, delivered=0.6), 6)

    assert outcome.state.capacity == pytest.approx(0.6 * LAW.rough)


def test_device_that_is_slow_by_itself_is_found_out_by_draining_it_once() -> None:
    state, drained = holding(), 0
    for index in range(40):
        delivered = min(0.8, state.let_in)
        seen = replace(
            CALM, now_s=100 + index / 2, latency_s=0.2, delivered=delivered, queued_s=0.2 * delivered
        )
        state = step(state, seen, LAW).state
        drained += state.mode is Mode.DRAIN

    assert drained <= 2
    assert state.mode is Mode.HOLD
    assert state.capacity == 1.0
    assert limit_s(state, LAW) > 0.2


def test_queue_that_does_not_drain_is_let_go_and_tried_again_later() -> None:
    outcome = looks(holding(), QUEUE, LAW.drain_looks + 1)

    assert outcome.state.mode is Mode.LET_GO
    assert not outcome.bound
    assert outcome.state.capacity == 1.0
    after = step(outcome.state, replace(CALM, now_s=100 + LAW.let_go_s + 10), LAW)
    assert after.state.mode is Mode.HOLD


def test_idle_protected_pods_leave_the_whole_device_and_no_more() -> None:
    outcome = step(holding(), replace(CALM, protected_active=False), LAW)

    assert outcome.state.mode is Mode.OPEN
    assert outcome.budget_ratio == pytest.approx(1.0)


def test_protected_pods_alone_are_never_held_back() -> None:
    outcome = looks(holding(), replace(CALM, yielding_active=False, protected_work=0.9, mix_ratio=None), 60)

    assert outcome.state.mode is Mode.IDLE
    assert outcome.budget_ratio >= 4


def test_known_ceiling_is_never_probed_past() -> None:
    assert looks(holding(), CALM, 200).state.mode is Mode.HOLD


def test_probe_that_meets_no_queue_raises_the_capacity() -> None:
    state = holding(known=False)
    for index in range(200):
        state = step(state, replace(CALM, now_s=100 + index / 2, delivered=3.0), LAW).state

    assert (state.capacity or 0) > 1.5


def test_probes_that_hurt_become_rare() -> None:
    state = holding(known=False)
    probing = 0
    for index in range(4000):
        seen = replace(CALM, now_s=100 + index / 2, delivered=0.9)
        if state.mode is Mode.PROBE:
            probing += 1
            seen = replace(QUEUE, now_s=seen.now_s, delivered=1.0)
        state = step(state, seen, LAW).state

    assert 0 < probing < 0.02 * 4000
    assert state.capacity == pytest.approx(1.0, abs=0.05)


def test_dearest_mix_of_the_last_seconds_counts() -> None:
    state = looks(initial(LAW, known=True), replace(CALM, mix_ratio=1.8), 10).state
    dear = step(state, replace(CALM, now_s=106.0, mix_ratio=1.0), LAW)
    soon = step(dear.state, replace(CALM, now_s=110.0, mix_ratio=1.8), LAW)
    late = step(soon.state, replace(CALM, now_s=106.5 + LAW.mix_memory_s, mix_ratio=1.8), LAW)

    assert dear.budget_ratio == soon.budget_ratio < 1
    assert late.budget_ratio > 1.2


def test_uneven_demand_lengthens_the_period_and_even_demand_does_not() -> None:
    even, uneven = initial(LAW, known=True), initial(LAW, known=True)
    for index in range(200):
        now_s = 100 + index / 2
        even = step(even, replace(CALM, now_s=now_s), LAW).state
        burst = replace(CALM, now_s=now_s, protected_work=0.2 if index % 4 == 0 else 0.0)
        uneven = step(uneven, burst, LAW).state

    assert uneven.burst_s == pytest.approx(0.1 * 0.75, rel=0.3)
    assert uneven.period_s > 4 * even.period_s
    assert margin(uneven, LAW) <= margin(even, LAW)


def test_share_covers_what_the_protected_use() -> None:
    assert protected_share(State(demand=0.05), LAW) == LAW.protected_share
    assert protected_share(State(demand=0.5), LAW) > 0.85


def test_missed_target_takes_the_lower_margin() -> None:
    outcome = step(holding(), replace(CALM, missed_target=True), LAW)

    assert outcome.let_in == pytest.approx(LAW.margin_min, rel=0.06)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.builds(
            Signals,
            now_s=st.just(0.0),
            span_s=st.floats(0.05, 3),
            latency_s=st.none() | st.floats(0, 10),
            delivered=st.floats(0, 10),
            queued_s=st.floats(0, 10),
            protected_work=st.floats(0, 10),
            read_s=st.just(READ_S),
            protected_active=st.booleans(),
            yielding_active=st.booleans(),
            mix_ratio=st.none() | st.floats(1, 2),
            missed_target=st.booleans(),
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_whatever_is_seen_the_budget_stays_sane(seen: list[Signals], known: bool) -> None:
    state, now_s = initial(LAW, known=known), 0.0
    for one in seen:
        now_s += one.span_s
        outcome = step(state, replace(one, now_s=now_s), LAW)
        state = outcome.state
        assert math.isfinite(outcome.budget_ratio)
        assert outcome.budget_ratio > 0
        assert LAW.period_min_s <= outcome.period_s <= LAW.period_max_s
        assert 0 < outcome.protected_share < 1
        assert state.capacity is None or 0 <= state.capacity <= state.ceiling
