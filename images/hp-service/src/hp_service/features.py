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


def structural_features(graph: ReviewGraph) -> FloatArray:
    """Compute the raw inputs of every node: shape (nodes, len(FEATURE_NAMES)).

    A review carries its user's and its product's columns as well as its own; a user or a product
    leaves the columns of the other kinds at zero.
    """
    user, product = graph.user_of.astype(np.int64), graph.product_of.astype(np.int64)
    user_degree = np.diff(graph.user_start).astype(np.float64)
    product_degree = np.diff(graph.product_start).astype(np.float64)
    weights = 1.0 / np.sqrt(user_degree[user] * product_degree[product])
    left, right = _spectrum(user, product, weights, graph.users, graph.products)

    product_columns = _product_columns(user, product, user_degree, product_degree)
    affinity = _copurchase(user, product, user_degree, product_degree)
    user_columns = _user_columns(user, product, user_degree, product_columns, affinity, graph.users)
    review_columns = np.stack(
        [
            np.sum(left[user] * right[product], axis=1),
            affinity,
            _rank_within(product, user_degree[user]),
        ],
        axis=1,
    )
    user_block = np.concatenate([user_columns, left], axis=1)
    product_block = np.concatenate([product_columns, right], axis=1)
    return _assemble(user, product, user_block, product_block, review_columns)


def standardised(features: FloatArray, training_reviews: npt.NDArray[np.int64]) -> FloatArray:
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
    after_user = len(KIND_FEATURES) + len(USER_FEATURES)
    after_product = after_user + len(PRODUCT_FEATURES)
    is_user, is_product = features[:, 1] > 0, features[:, 2] > 0
    absent[is_user, after_user:] = True
    absent[is_product, len(KIND_FEATURES) : after_user] = True
    absent[is_product, after_product:] = True
    return absent


def _assemble(
    user: npt.NDArray[np.int64],
    product: npt.NDArray[np.int64],
    user_block: DoubleArray,
    product_block: DoubleArray,
    review_columns: DoubleArray,
) -> FloatArray:
    reviews, users, products = len(user), len(user_block), len(product_block)
    features = np.zeros((reviews + users + products, len(FEATURE_NAMES)), dtype=np.float32)
    of_reviews, of_users = slice(0, reviews), slice(reviews, reviews + users)
    of_products = slice(reviews + users, None)
    kinds = len(KIND_FEATURES)
    after_user = kinds + len(USER_FEATURES)
    after_product = after_user + len(PRODUCT_FEATURES)
    features[of_reviews, 0] = features[of_users, 1] = features[of_products, 2] = 1.0
    features[of_reviews, kinds:after_user] = user_block[user]
    features[of_reviews, after_user:after_product] = product_block[product]
    features[of_reviews, after_product:] = review_columns
    features[of_users, kinds:after_user] = user_block
    features[of_products, after_user:after_product] = product_block
    return features


def _product_columns(
    user: npt.NDArray[np.int64],
    product: npt.NDArray[np.int64],
    user_degree: DoubleArray,
    product_degree: DoubleArray,
) -> DoubleArray:
    degree = user_degree[user]
    size = len(product_degree)

    def share(mask: npt.NDArray[np.bool_]) -> DoubleArray:
        return np.bincount(product, mask.astype(np.float64), minlength=size) / product_degree

    mean, deviation, _, _ = _summaries(product, np.log1p(degree), size)
    columns = [
        np.log1p(product_degree),
        share(degree == 1),
        mean,
        deviation,
        share((degree >= 2) & (degree <= 3)),
        share((degree >= 4) & (degree <= 9)),
        share(degree >= 10),
    ]
    return np.stack(columns, axis=1)


def _user_columns(
    user: npt.NDArray[np.int64],
    product: npt.NDArray[np.int64],
    user_degree: DoubleArray,
    product_columns: DoubleArray,
    affinity: DoubleArray,
    users: int,
) -> DoubleArray:
    columns = [
        np.log1p(user_degree),
        (user_degree == 1).astype(np.float64),
        (user_degree == 2).astype(np.float64),
        1.0 / user_degree,
    ]
    for column in range(3):
        columns.extend(_summaries(user, product_columns[product, column], users))
    columns.append(_summaries(user, affinity, users)[0])
    return np.stack(columns, axis=1)


def _summaries(
    owner: npt.NDArray[np.int64], values: DoubleArray, owners: int
) -> tuple[DoubleArray, DoubleArray, DoubleArray, DoubleArray]:
    """Return mean, deviation, minimum and maximum of `values` per owner. Every owner has a value."""
    count = np.bincount(owner, minlength=owners)
    mean = np.bincount(owner, values, minlength=owners) / count
    spread = np.bincount(owner, (values - mean[owner]) ** 2, minlength=owners) / count
    low, high = np.full(owners, np.inf), np.full(owners, -np.inf)
    np.minimum.at(low, owner, values)
    np.maximum.at(high, owner, values)
    return mean, np.sqrt(spread), low, high


def _incidence(
    user: npt.NDArray[np.int64],
    product: npt.NDArray[np.int64],
    values: DoubleArray,
    users: int,
    products: int,
) -> DoubleArray:
    matrix = np.zeros((users, products))
    np.add.at(matrix, (user, product), values)
    return matrix


def _spectrum(
    user: npt.NDArray[np.int64],
    product: npt.NDArray[np.int64],
    weights: DoubleArray,
    users: int,
    products: int,
) -> tuple[DoubleArray, DoubleArray]:
    """Embed users and products by the leading singular vectors of the normalised incidence matrix.

    The first pair is the degrees over again and is left out. A graph with fewer products than
    dimensions fills up with zeros. Each vector's sign is fixed by its largest product component.
    """
    matrix = _incidence(user, product, weights, users, products)
    values, vectors = np.linalg.eigh(matrix.T @ matrix)
    order = np.argsort(values)[::-1][1 : 1 + SPECTRAL_DIMS]
    right = vectors[:, order]
    right = right * np.sign(right[np.argmax(np.abs(right), axis=0), np.arange(right.shape[1])])
    left = (matrix @ right) * np.sqrt(users)
    right = right * np.sqrt(products)
    missing = SPECTRAL_DIMS - right.shape[1]
    return np.pad(left, ((0, 0), (0, missing))), np.pad(right, ((0, 0), (0, missing)))


def _copurchase(
    user: npt.NDArray[np.int64],
    product: npt.NDArray[np.int64],
    user_degree: DoubleArray,
    product_degree: DoubleArray,
) -> DoubleArray:
    """Return, per review, how often its product shares reviewers with the user's other products.

    The cosine between two products' reviewer sets, averaged over the user's other products; zero for
    a user with a single review.
    """
    matrix = _incidence(user, product, np.ones(len(user)), len(user_degree), len(product_degree))
    together = matrix.T @ matrix
    cosine = together / np.sqrt(np.outer(product_degree, product_degree))
    np.fill_diagonal(cosine, 0.0)
    total = (matrix @ cosine)[user, product]
    return total / np.maximum(user_degree[user] - 1.0, 1.0)


def _rank_within(owner: npt.NDArray[np.int64], values: DoubleArray) -> DoubleArray:
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
