from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_service.quality import area_under_curve, auc_gain_interval, average_precision, measure

CASES = st.lists(st.tuples(st.integers(0, 1), st.integers(-5, 5)), min_size=2, max_size=30).filter(
    lambda rows: {label for label, _ in rows} == {0, 1}
)


def arrays(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([label for label, _ in rows]), np.array([float(score) for _, score in rows])


def test_worked_example() -> None:
    fraud, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    assert area_under_curve(fraud, scores) == 0.75
    # Precision 1/1 at recall 1/2, then 2/3 at recall 2/2.
    assert average_precision(fraud, scores) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@given(CASES)
def test_area_is_the_chance_that_fraud_outranks(rows: list[tuple[int, int]]) -> None:
    fraud, scores = arrays(rows)
    wins = [
        (bad > good) + 0.5 * (bad == good)
        for bad in scores[fraud == 1].tolist()
        for good in scores[fraud == 0].tolist()
    ]
    assert area_under_curve(fraud, scores) == pytest.approx(sum(wins) / len(wins))


@given(CASES)
def test_constant_scores_reach_the_fraud_share(rows: list[tuple[int, int]]) -> None:
    fraud, _ = arrays(rows)
    quality = measure(fraud, np.zeros(len(fraud)))
    assert quality.auc == 0.5
    assert quality.average_precision == pytest.approx(quality.fraud_share)


@given(CASES)
def test_order_of_the_reviews_does_not_matter(rows: list[tuple[int, int]]) -> None:
    assert average_precision(*arrays(rows)) == pytest.approx(average_precision(*arrays(rows[::-1])))


def test_gain_interval_holds_zero_for_equal_and_not_for_better_scores() -> None:
    rng = np.random.default_rng(0)
    fraud = rng.integers(2, size=400)
    noise = rng.normal(size=400)
    user = np.arange(400) // 2
    assert auc_gain_interval(fraud, noise, noise, user, rng) == (0.0, 0.0)
    low, high = auc_gain_interval(fraud, fraud + 0.5 * noise, noise, user, rng)
    assert 0.2 < low < high


def test_one_class_has_no_ranking() -> None:
    assert math.isnan(area_under_curve(np.zeros(3, np.int64), np.arange(3.0)))
    assert math.isnan(average_precision(np.zeros(3, np.int64), np.arange(3.0)))
