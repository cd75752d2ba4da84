"""Hold the review graph in memory and pick the neighbourhood that a score needs.

Nodes are numbered in three runs, which are also the rows of the feature file: reviews first (a
review's id is its node), then users, then products. A review touches its user and its product; both
touch all of their reviews.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from hp_service.architecture import PRODUCT_FANOUT, SLOTS, USER_FANOUT
from hp_service.errors import DatasetError

Int64Array = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
UInt64Array = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class ReviewGraph:
    """Reviews between users and products, with each user's and product's reviews in CSR form."""

    user_of: Int32Array
    """User of each review, from zero."""
    product_of: Int32Array
    """Product of each review, from zero."""
    user_start: Int64Array
    """Start of each user's run in `user_reviews`; one longer than there are users."""
    user_reviews: Int32Array
    product_start: Int64Array
    product_reviews: Int32Array

    @property
    def reviews(self) -> int:
        return len(self.user_of)

    @property
    def users(self) -> int:
        return len(self.user_start) - 1

    @property
    def products(self) -> int:
        return len(self.product_start) - 1

    @cached_property
    def _slot_keys(self) -> UInt64Array:
        return np.arange(USER_FANOUT + PRODUCT_FANOUT, dtype=np.uint64) * _GOLDEN

    def neighbourhood(self, review_ids: Int64Array, *, salt: int = 0) -> Int64Array:
        """Pick the nodes whose features score `review_ids`: shape (n, SLOTS).

        Columns: the review, its user, its product, USER_FANOUT reviews of the user, PRODUCT_FANOUT
        of the product, drawn with replacement. The draw depends on the review and the salt alone,
        so that the same review reads the same rows and gets the same score.
        """
        user = self.user_of[review_ids].astype(np.int64)
        product = self.product_of[review_ids].astype(np.int64)
        draws = _mix(review_ids.astype(np.uint64)[:, None] * _GOLDEN_2 + self._slot_keys + np.uint64(salt))
        nodes = np.empty((len(review_ids), SLOTS), dtype=np.int64)
        nodes[:, 0] = review_ids
        nodes[:, 1] = user + self.reviews
        nodes[:, 2] = product + (self.reviews + self.users)
        user_slots = slice(3, 3 + USER_FANOUT)
        nodes[:, user_slots] = _pick(self.user_start, self.user_reviews, user, draws[:, :USER_FANOUT])
        product_draws = draws[:, USER_FANOUT:]
        nodes[:, 3 + USER_FANOUT :] = _pick(self.product_start, self.product_reviews, product, product_draws)
        return nodes

    def save(self, path: Path) -> None:
        """Write the graph as an uncompressed npz."""
        np.savez(
            path,
            user_of=self.user_of,
            product_of=self.product_of,
            user_start=self.user_start,
            user_reviews=self.user_reviews,
            product_start=self.product_start,
            product_reviews=self.product_reviews,
        )


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_GOLDEN_2 = np.uint64(0xD1B54A32D192ED03)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(values: UInt64Array) -> UInt64Array:
    """Scatter 64-bit integers: the finaliser of SplitMix64 (Steele et al., OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


def _pick(start: Int64Array, members: Int32Array, owner: Int64Array, draws: UInt64Array) -> Int32Array:
    first = start[owner]
    length = (start[owner + 1] - first).astype(np.uint64)
    # The low bits modulo a length below 2**32 are biased by less than one part in 2**32.
    return members[first[:, None] + (draws % length[:, None]).astype(np.int64)]


def build_graph(user: Int64Array, product: Int64Array) -> ReviewGraph:
    """Build the graph of reviews given the user and product of each."""
    user_start, user_reviews = _group(user)
    product_start, product_reviews = _group(product)
    return ReviewGraph(
        user_of=user.astype(np.int32),
        product_of=product.astype(np.int32),
        user_start=user_start,
        user_reviews=user_reviews,
        product_start=product_start,
        product_reviews=product_reviews,
    )


def _group(owner: Int64Array) -> tuple[Int64Array, Int32Array]:
    start = np.zeros(int(owner.max()) + 2, dtype=np.int64)
    np.cumsum(np.bincount(owner), out=start[1:])
    return start, np.argsort(owner, kind="stable").astype(np.int32)


def load_graph(path: Path) -> ReviewGraph:
    """Read what `ReviewGraph.save` wrote, into memory: a memory map would fault pages in from the disk."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return ReviewGraph(**{name: stored[name] for name in stored.files})
    except (OSError, EOFError, BadZipFile, ValueError, TypeError) as error:
        raise DatasetError(
            f"{path} is not a review graph: {error}", hint="run `hp-service prepare` again"
        ) from error


def replicated(graph: ReviewGraph, copies: int, rng: np.random.Generator) -> ReviewGraph:
    """Return a graph `copies` times as large with the same degree distributions.

    Users and products are copied; each copied review keeps its user and moves to the same product
    of a random copy, so that the copies are one connected graph rather than islands.
    """
    if copies == 1:
        return graph
    copy = np.repeat(np.arange(copies), graph.reviews)
    user = np.tile(graph.user_of, copies) + copy * graph.users
    elsewhere = rng.integers(copies, size=len(copy))
    # The first `products` reviews of each copy stay at home, or a copy could lose a product.
    product = np.tile(graph.product_of, copies) + elsewhere * graph.products
    home = graph.product_reviews[graph.product_start[:-1]]
    for index in range(copies):
        at = home + index * graph.reviews
        product[at] = graph.product_of[home] + index * graph.products
    return build_graph(user, product)


def original_node(graph: ReviewGraph, copies: int) -> Int64Array:
    """Map each node of the replicated graph to the node that it is a copy of."""
    runs = (
        np.arange(graph.reviews),
        np.arange(graph.users) + graph.reviews,
        np.arange(graph.products) + graph.reviews + graph.users,
    )
    return np.concatenate([np.tile(run, copies) for run in runs])
