from __future__ import annotations

import numpy as np
import pytest

from hp_service.features import (
    FEATURE_NAMES,
    KIND_FEATURES,
    PRODUCT_FEATURES,
    USER_FEATURES,
    FloatArray,
    standardised,
    structural_features,
)
from hp_service.graph import ReviewGraph, build_graph
from hp_service.rows import MAX_FEATURES
from hp_service.source import Reviews

KINDS = len(KIND_FEATURES)
AFTER_USER = KINDS + len(USER_FEATURES)
AFTER_PRODUCT = AFTER_USER + len(PRODUCT_FEATURES)


@pytest.fixture
def graph(reviews: Reviews) -> ReviewGraph:
    return build_graph(reviews.user, reviews.product)


@pytest.fixture
def features(graph: ReviewGraph) -> FloatArray:
    return structural_features(graph)


def column(features: FloatArray, name: str) -> FloatArray:
    return features[:, FEATURE_NAMES.index(name)]


def test_every_node_has_a_finite_row_that_fits(graph: ReviewGraph, features: FloatArray) -> None:
    assert features.shape == (graph.reviews + graph.users + graph.products, len(FEATURE_NAMES))
    assert np.isfinite(features).all()
    assert len(FEATURE_NAMES) <= MAX_FEATURES
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)


def test_degrees_are_those_of_the_graph(graph: ReviewGraph, features: FloatArray, reviews: Reviews) -> None:
    degree = np.bincount(reviews.user)[reviews.user]
    np.testing.assert_allclose(column(features, "user_log_degree")[: graph.reviews], np.log1p(degree), 1e-6)
    np.testing.assert_array_equal(column(features, "user_is_singleton")[: graph.reviews], degree == 1)


def test_order_of_the_reviews_changes_no_feature(features: FloatArray, reviews: Reviews) -> None:
    order = np.random.default_rng(5).permutation(reviews.count)
    again = structural_features(build_graph(reviews.user[order], reviews.product[order]))
    np.testing.assert_allclose(again[: reviews.count], features[order], atol=1e-4)
    np.testing.assert_allclose(again[reviews.count :], features[reviews.count :], atol=1e-4)


def test_columns_of_other_kinds_stay_zero(graph: ReviewGraph, features: FloatArray) -> None:
    scaled = standardised(features, np.arange(50))
    users = scaled[graph.reviews : graph.reviews + graph.users]
    products = scaled[graph.reviews + graph.users :]
    assert not users[:, AFTER_USER:].any()
    assert not products[:, KINDS:AFTER_USER].any()
    assert not products[:, AFTER_PRODUCT:].any()


def test_standardisation_is_fitted_on_training_reviews_alone(features: FloatArray) -> None:
    training = np.arange(60)
    scaled = standardised(features, training)
    fitted = scaled[training][:, KINDS:]
    assert np.abs(fitted.mean(axis=0)).max() < 0.2  # clipping moves a mean a little
    disturbed = features.copy()
    disturbed[100] *= 1000
    np.testing.assert_array_equal(standardised(disturbed, training)[training], scaled[training])


def test_graph_with_fewer_products_than_dimensions_has_features() -> None:
    features = structural_features(build_graph(np.array([0, 1, 1]), np.array([0, 0, 1])))
    assert np.isfinite(features).all()
