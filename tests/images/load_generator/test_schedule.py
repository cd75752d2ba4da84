import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_generator.schedule import Arrivals, request_ids, schedule

rates_rps = st.floats(min_value=0.1, max_value=2000)
durations_s = st.floats(min_value=0.01, max_value=5)
seeds = st.integers(min_value=-(1 << 40), max_value=1 << 40)


@given(rates_rps, durations_s, seeds, st.sampled_from(Arrivals))
def test_offsets_ascend_within_the_duration_and_repeat_for_the_seed(
    rate_rps: float, duration_s: float, seed: int, arrivals: Arrivals
) -> None:
    offsets_us = schedule(rate_rps, duration_s, seed, arrivals)
    assert offsets_us == schedule(rate_rps, duration_s, seed, arrivals)
    assert list(offsets_us) == sorted(offsets_us)
    assert all(0 <= offset_us < duration_s * 1e6 for offset_us in offsets_us)


def test_constant_arrivals_are_evenly_spaced_without_drift() -> None:
    offsets_us = schedule(30, 100, seed=1, arrivals=Arrivals.CONSTANT)
    assert len(offsets_us) == 3000
    assert offsets_us[:4] == (0, 33_333, 66_666, 100_000)
    assert offsets_us[2999] == 99_966_666


def test_poisson_gaps_have_mean_and_spread_of_the_exponential() -> None:
    offsets_us = schedule(100, 200, seed=3, arrivals=Arrivals.POISSON)
    gaps_us = [b - a for a, b in itertools.pairwise(offsets_us)]
    assert statistics.mean(gaps_us) == pytest.approx(10_000, rel=0.03)
    assert statistics.stdev(gaps_us) == pytest.approx(10_000, rel=0.05)


def test_another_seed_gives_another_schedule_and_other_ids() -> None:
    one, two = (schedule(100, 1, seed, Arrivals.POISSON) for seed in (1, 2))
    assert one != two
    assert request_ids(50, 1, 1000) != request_ids(50, 2, 1000)


@given(st.integers(min_value=0, max_value=500), seeds, st.integers(min_value=1, max_value=1 << 30))
def test_ids_are_in_range_and_repeat_for_the_seed(count: int, seed: int, ids_max: int) -> None:
    ids = request_ids(count, seed, ids_max)
    assert len(ids) == count
    assert all(0 <= one < ids_max for one in ids)
    assert ids == request_ids(count, seed, ids_max)


def test_a_longer_run_starts_with_the_ids_of_a_shorter_one() -> None:
    assert request_ids(100, 5, 1000)[:40] == request_ids(40, 5, 1000)
