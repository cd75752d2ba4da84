from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_service.architecture import SLOTS, USER_FANOUT
from hp_service.errors import DatasetError
from hp_service.graph import ReviewGraph, build_graph, load_graph, original_node, replicated
from hp_service.source import Reviews


@pytest.fixture
def graph(reviews: Reviews) -> ReviewGraph:
    return build_graph(reviews.user, reviews.product)


def test_neighbourhood_holds_the_reviews_user_product_and_their_reviews(
    graph: ReviewGraph, reviews: Reviews
) -> None:
    ids = np.arange(graph.reviews)
    nodes = graph.neighbourhood(ids)
    assert nodes.shape == (graph.reviews, SLOTS)
    np.testing.assert_array_equal(nodes[:, 0], ids)
    np.testing.assert_array_equal(nodes[:, 1] - graph.reviews, reviews.user)
    np.testing.assert_array_equal(nodes[:, 2] - graph.reviews - graph.users, reviews.product)
    of_user, of_product = nodes[:, 3 : 3 + USER_FANOUT], nodes[:, 3 + USER_FANOUT :]
    assert (reviews.user[of_user] == reviews.user[:, None]).all()
    assert (reviews.product[of_product] == reviews.product[:, None]).all()


def test_a_review_draws_the_same_neighbours_alone_and_in_a_batch(graph: ReviewGraph) -> None:
    batch = graph.neighbourhood(np.array([5, 9, 5]))
    np.testing.assert_array_equal(batch[[0]], graph.neighbourhood(np.array([5])))
    np.testing.assert_array_equal(batch[0], batch[2])


def test_another_salt_draws_other_neighbours(graph: ReviewGraph) -> None:
    ids = np.arange(50)
    assert (graph.neighbourhood(ids) != graph.neighbourhood(ids, salt=1)).any(axis=1).mean() > 0.9


def test_draws_cover_a_products_reviews_evenly() -> None:
    graph = build_graph(np.arange(200), np.zeros(200, dtype=np.int64))
    drawn = graph.neighbourhood(np.arange(200))[:, 3 + USER_FANOUT :]
    counts = np.bincount(drawn.ravel(), minlength=200)
    # 4,800 draws: 24 expected each with deviation 4.9; 6 deviations either way.
    assert counts.min() > 0
    assert counts.max() < 24 + 6 * 4.9


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=1, max_size=40))
def test_csr_runs_list_each_review_once_under_its_owner(pairs: list[tuple[int, int]]) -> None:
    user = np.unique([u for u, _ in pairs], return_inverse=True)[1]
    product = np.unique([p for _, p in pairs], return_inverse=True)[1]
    graph = build_graph(user, product)
    assert sorted(graph.user_reviews) == list(range(len(pairs)))
    for owner in range(graph.users):
        run = graph.user_reviews[graph.user_start[owner] : graph.user_start[owner + 1]]
        assert set(user[run]) == {owner}


def test_saved_graph_loads_unchanged(graph: ReviewGraph, tmp_path: Path) -> None:
    graph.save(tmp_path / "graph.npz")
    loaded = load_graph(tmp_path / "graph.npz")
    ids = np.arange(graph.reviews)
    np.testing.assert_array_equal(loaded.neighbourhood(ids), graph.neighbourhood(ids))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"\x93NUMPY"])
def test_damaged_graph_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "graph.npz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="is not a review graph"):
        load_graph(path)


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "graph.npz", user_of=np.array([{}], dtype=object))
    with pytest.raises(DatasetError, match="is not a review graph"):
        load_graph(tmp_path / "graph.npz")


def test_replication_keeps_users_and_spreads_products_over_copies(graph: ReviewGraph) -> None:
    large = replicated(graph, 3, np.random.default_rng(0))
    assert (large.reviews, large.users, large.products) == (
        3 * graph.reviews,
        3 * graph.users,
        3 * graph.products,
    )
    np.testing.assert_array_equal(np.diff(large.user_start), np.tile(np.diff(graph.user_start), 3))
    assert np.diff(large.product_start).min() > 0
    home = np.repeat(np.arange(3), graph.reviews)
    assert (large.product_of // graph.products != home).any()


def test_replicated_nodes_map_to_the_node_of_the_same_kind(graph: ReviewGraph) -> None:
    large = replicated(graph, 3, np.random.default_rng(0))
    origin = original_node(graph, 3)
    assert len(origin) == large.reviews + large.users + large.products
    nodes = large.neighbourhood(np.array([graph.reviews * 2 + 4]))[0]
    assert origin[nodes[0]] == 4
    assert origin[nodes[1]] == graph.reviews + graph.user_of[4]
    assert origin[nodes[2]] == graph.reviews + graph.users + graph.product_of[4]
