"""Labels of held-out reviews must have no way into features, weights or predictions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from hp_service.features import standardised, structural_features
from hp_service.graph import build_graph
from hp_service.source import Reviews
from hp_service.training import Split, logistic_scores, predict, split_by_user, train


@pytest.fixture
def split(reviews: Reviews) -> Split:
    return split_by_user(reviews.user, np.random.default_rng(2))


def scores_with(fraud: np.ndarray, reviews: Reviews, split: Split) -> tuple[np.ndarray, np.ndarray]:
    graph = build_graph(reviews.user, reviews.product)
    features = standardised(structural_features(graph), split.train)
    model = train(graph, features, fraud, split, epochs=2, seed=1)
    return (
        predict(model, graph, features, split.test),
        logistic_scores(features, fraud, split.train, split.test),
    )


def test_no_user_has_reviews_in_two_parts(reviews: Reviews, split: Split) -> None:
    parts = [set(reviews.user[ids]) for ids in (split.train, split.validation, split.test)]
    assert all(parts)
    for one, other in combinations(parts, 2):
        assert not one & other
    everything = np.concatenate([split.train, split.validation, split.test])
    assert sorted(everything) == list(range(reviews.count))


def test_permuted_test_labels_change_no_prediction(reviews: Reviews, split: Split) -> None:
    permuted = reviews.fraud.copy()
    permuted[split.test] = 1 - permuted[split.test]
    for before, after in zip(
        scores_with(reviews.fraud, reviews, split), scores_with(permuted, reviews, split), strict=True
    ):
        np.testing.assert_array_equal(before, after)


def test_permuted_training_labels_do_change_predictions(reviews: Reviews, split: Split) -> None:
    # The counterpart: without it the test above would pass for a model that learns nothing.
    permuted = reviews.fraud.copy()
    permuted[split.train] = 1 - permuted[split.train]
    for before, after in zip(
        scores_with(reviews.fraud, reviews, split), scores_with(permuted, reviews, split), strict=True
    ):
        assert not np.allclose(before, after)
