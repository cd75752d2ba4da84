"""Describe reviews, users and products by the shape of the graph around them, and by nothing else.

No label, no rating, no date: labels would leak, and the package ships neither of the others. The
whole graph is known to a service that scores reviews, so it may be used; what is *fitted* (the
standardisation) is fitted on training reviews only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hp_service.graph import ReviewGraph

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]

SPECTRAL_DIMS = 12

_SUMMARY = ("mean", "std", "min", "max")
USER_FEATURES = (
    "user_log_degree",
    "user_is_singleton",
    "user_is_pair",
    "user_inverse_degree",
    *(f"user_product_log_degree_{s}" for s in _SUMMARY),
    *(f"user_product_singleton_ratio_{s}" for s in _SUMMARY),
    *(f"user_product_mean_log_degree_{s}" for s in _SUMMARY),
    "user_copurchase_mean",
    *(f"user_spectral_{i}" for i in range(SPECTRAL_DIMS)),
)
PRODUCT_FEATURES = (
    "product_log_degree",
    "product_singleton_ratio",
    *(f"product_user_log_degree_{s}" for s in _SUMMARY[:2]),
    *(f"product_user_degree_share_{name}" for name in ("2_3", "4_9", "10_up")),
    *(f"product_spectral_{i}" for i in range(SPECTRAL_DIMS)),
)
REVIEW_FEATURES = ("review_affinity", "review_copurchase", "review_degree_rank_in_product")
KIND_FEATURES = ("is_review", "is_user", "is_product")
FEATURE_NAMES = KIND_FEATURES + USER_FEATURES + PRODUCT_FEATURES + REVIEW_FEATURES

_AFTER_KINDS = len(KIND_FEATURES)
_AFTER_USER = _AFTER_KINDS + len(USER_FEATURES)
_AFTER_PRODUCT = _AFTER_USER + len(PRODUCT_FEATURES)


class _Edges:
    """Every review as an edge between its user and its product, and how many each of these has."""

    def __init__(self, graph: ReviewGraph) -> None:
        self.user = graph.user_of.astype(np.int64)
        self.product = graph.product_of.astype(np.int64)
        self.user_degree = np.diff(graph.user_start).astype(np.float64)
        self.product_degree = np.diff(graph.product_start).astype(np.float64)

    def incidence(self, values: DoubleArray | float) -> DoubleArray:
        """Return the matrix of users by products in which each review adds its value."""
        matrix = np.zeros((len(self.user_degree), len(self.product_degree)))
        np.add.at(matrix, (self.user, self.product), values)
        return matrix


def structural_features(graph: ReviewGraph) -> FloatArray:
    """Compute the raw inputs of every node: shape (nodes, len(FEATURE_NAMES)).

    A review carries its user's and its product's columns as well as its own; a user or a product
    leaves the columns of the other kinds at zero.
    """
    edges = _Edges(graph)
    left, right = _spectrum(edges)
    product_columns = _product_columns(edges)
    affinity = _copurchase(edges)
    review_columns = np.stack(
        [
            np.sum(left[edges.user] * right[edges.product], axis=1),
            affinity,
            _rank_within(edges.product, edges.user_degree[edges.user]),
        ],
        axis=1,
    )
    user_block = np.concatenate([_user_columns(edges, product_columns, affinity), left], axis=1)
    product_block = np.concatenate([product_columns, right], axis=1)
    return _assemble(edges, user_block, product_block, review_columns)


def standardised(features: FloatArray, training_reviews: IndexArray) -> FloatArray:
    """Shift and scale by the mean and deviation over the training reviews; absent columns stay zero.

    Reviews carry every column, so one set of statistics serves all three kinds of node.
    """
    fitted = features[training_reviews].astype(np.float64)
    mean, deviation = fitted.mean(axis=0), fitted.std(axis=0)
    kinds = len(KIND_FEATURES)
    mean[:kinds], deviation[:kinds] = 0.0, 1.0
    scaled = (features - mean) / np.maximum(deviation, 1e-9)
    absent = _absent_columns(features)
    return np.where(absent, 0.0, np.clip(scaled, -8.0, 8.0)).astype(np.float32)


def _absent_columns(features: FloatArray) -> npt.NDArray[np.bool_]:
    absent = np.zeros(features.shape, dtype=np.bool_)
    is_user, is_product = features[:, 1] > 0, features[:, 2] > 0
    absent[is_user, _AFTER_USER:] = True
    absent[is_product, _AFTER_KINDS:_AFTER_USER] = True
    absent[is_product, _AFTER_PRODUCT:] = True
    return absent


def _assemble(
    edges: _Edges, user_block: DoubleArray, product_block: DoubleArray, review_columns: DoubleArray
) -> FloatArray:
    reviews, users, products = len(edges.user), len(user_block), len(product_block)
    features = np.zeros((reviews + users + products, len(FEATURE_NAMES)), dtype=np.float32)
    of_reviews, of_users = slice(0, reviews), slice(reviews, reviews + users)
    of_products = slice(reviews + users, None)
    of_user, of_product = slice(_AFTER_KINDS, _AFTER_USER), slice(_AFTER_USER, _AFTER_PRODUCT)
    features[of_reviews, 0] = features[of_users, 1] = features[of_products, 2] = 1.0
    features[of_reviews, of_user] = user_block[edges.user]
    features[of_reviews, of_product] = product_block[edges.product]
    features[of_reviews, _AFTER_PRODUCT:] = review_columns
    features[of_users, of_user] = user_block
    features[of_products, of_product] = product_block
    return features


def _product_columns(edges: _Edges) -> DoubleArray:
    degree = edges.user_degree[edges.user]
    size = len(edges.product_degree)

    def share(mask: npt.NDArray[np.bool_]) -> DoubleArray:
        return np.bincount(edges.product, mask.astype(np.float64), minlength=size) / edges.product_degree

    mean, deviation, _, _ = _summaries(edges.product, np.log1p(degree), size)
    columns = [
        np.log1p(edges.product_degree),
        share(degree == 1),
        mean,
        deviation,
        share((degree >= 2) & (degree <= 3)),
        share((degree >= 4) & (degree <= 9)),
        share(degree >= 10),
    ]
    return np.stack(columns, axis=1)


def _user_columns(edges: _Edges, product_columns: DoubleArray, affinity: DoubleArray) -> DoubleArray:
    degree = edges.user_degree
    columns = [
        np.log1p(degree),
        (degree == 1).astype(np.float64),
        (degree == 2).astype(np.float64),
        1.0 / degree,
    ]
    for column in range(3):
        columns.extend(_summaries(edges.user, product_columns[edges.product, column], len(degree)))
    columns.append(_summaries(edges.user, affinity, len(degree))[0])
    return np.stack(columns, axis=1)


def _summaries(
    owner: IndexArray, values: DoubleArray, owners: int
) -> tuple[DoubleArray, DoubleArray, DoubleArray, DoubleArray]:
    """Return mean, deviation, minimum and maximum of `values` per owner. Every owner has a value."""
    count = np.bincount(owner, minlength=owners)
    mean = np.bincount(owner, values, minlength=owners) / count
    spread = np.bincount(owner, (values - mean[owner]) ** 2, minlength=owners) / count
    low, high = np.full(owners, np.inf), np.full(owners, -np.inf)
    np.minimum.at(low, owner, values)
    np.maximum.at(high, owner, values)
    return mean, np.sqrt(spread), low, high


def _spectrum(edges: _Edges) -> tuple[DoubleArray, DoubleArray]:
    """Embed users and products by the leading singular vectors of the normalised incidence matrix.

    The first pair is the degrees over again and is left out. A graph with fewer products than
    dimensions fills up with zeros. Each vector's sign is fixed by its largest product component.
    """
    weights = 1.0 / np.sqrt(edges.user_degree[edges.user] * edges.product_degree[edges.product])
    matrix = edges.incidence(weights)
    values, vectors = np.linalg.eigh(matrix.T @ matrix)
    order = np.argsort(values)[::-1][1 : 1 + SPECTRAL_DIMS]
    right = vectors[:, order]
    right = right * np.sign(right[np.argmax(np.abs(right), axis=0), np.arange(right.shape[1])])
    left = (matrix @ right) * np.sqrt(len(edges.user_degree))
    right = right * np.sqrt(len(edges.product_degree))
    missing = SPECTRAL_DIMS - right.shape[1]
    return np.pad(left, ((0, 0), (0, missing))), np.pad(right, ((0, 0), (0, missing)))


def _copurchase(edges: _Edges) -> DoubleArray:
    """Return, per review, how often its product shares reviewers with the user's other products.

    The cosine between two products' reviewer sets, averaged over the user's other products; zero for
    a user with a single review.
    """
    matrix = edges.incidence(1.0)
    together = matrix.T @ matrix
    cosine = together / np.sqrt(np.outer(edges.product_degree, edges.product_degree))
    np.fill_diagonal(cosine, 0.0)
    total = (matrix @ cosine)[edges.user, edges.product]
    return total / np.maximum(edges.user_degree[edges.user] - 1.0, 1.0)


def _rank_within(owner: IndexArray, values: DoubleArray) -> DoubleArray:
    """Return the share of an owner's reviews with a smaller value, ties counted half."""
    result = np.empty(len(values))
    order = np.argsort(owner, kind="stable")
    bounds = np.flatnonzero(np.diff(owner[order], prepend=-1))
    for members in np.split(order, bounds[1:]):
        own = values[members]
        ranked = np.sort(own)
        below = np.searchsorted(ranked, own, side="left")
        below_or_equal = np.searchsorted(ranked, own, side="right")
        result[members] = (below + below_or_equal) / (2.0 * len(own))
    return result
