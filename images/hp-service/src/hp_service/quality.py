"""Measure how well scores rank fraud."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Ranking quality on held-out reviews."""

    auc: float
    average_precision: float
    reviews: int
    fraud_share: float
    """What average precision a random ranking would reach."""


def measure(fraud: npt.NDArray[np.int64], scores: npt.NDArray[np.floating]) -> Quality:
    """Compute area under the ROC curve and average precision; tied scores count as ties."""
    return Quality(
        auc=area_under_curve(fraud, scores),
        average_precision=average_precision(fraud, scores),
        reviews=len(fraud),
        fraud_share=float(fraud.mean()),
    )


def auc_gain_interval(
    fraud: npt.NDArray[np.int64],
    scores: npt.NDArray[np.floating],
    baseline: npt.NDArray[np.floating],
    user: npt.NDArray[np.int64],
    rng: np.random.Generator,
    resamples: int = 200,
) -> tuple[float, float]:
    """Return the 95% bootstrap interval of how much `scores` outrank `baseline`, in AUC.

    Whole users are drawn, because the reviews of one user go together.
    """
    member = np.unique(user, return_inverse=True)[1]
    users = int(member.max()) + 1
    gains = []
    for _ in range(resamples):
        times = np.bincount(rng.integers(users, size=users), minlength=users)
        drawn = np.repeat(np.arange(len(user)), times[member])
        gain = area_under_curve(fraud[drawn], scores[drawn]) - area_under_curve(fraud[drawn], baseline[drawn])
        gains.append(gain)
    low, high = np.nanpercentile(gains, [2.5, 97.5])
    return float(low), float(high)


def area_under_curve(fraud: npt.NDArray[np.int64], scores: npt.NDArray[np.floating]) -> float:
    """Return the chance that a fraudulent review outranks an honest one, ties counted half."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    positives = int(fraud.sum())
    negatives = len(fraud) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    excess = rank[fraud == 1].sum() - positives * (positives + 1) / 2
    return float(excess / (positives * negatives))


def average_precision(fraud: npt.NDArray[np.int64], scores: npt.NDArray[np.floating]) -> float:
    """Return precision averaged over recall, one step per distinct score."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(fraud[order])
    if hits[-1] == 0:
        return float("nan")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    precision = hits[last_of_tie] / (last_of_tie + 1)
    gained = np.diff(hits[last_of_tie], prepend=0)
    return float((precision * gained).sum() / hits[-1])
