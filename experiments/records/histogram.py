"""Latency histograms as the load generator stores them: base64 HdrHistogram V2, in microseconds."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.errors import RecordError
from load_generator.histogram import buckets

_US_PER_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """Hold the occupied buckets of a histogram, lowest first; counts are positive."""

    lows_us: tuple[int, ...] = ()
    highs_us: tuple[int, ...] = ()
    """The highest value that a bucket stands for (inclusive): what percentiles report."""
    counts: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.counts)

    def percentile_ms(self, percentile: float) -> float | None:
        """Return a percentile (0 < p <= 100) by HdrHistogram's own rule; None when empty."""
        if not self.counts:
            return None
        wanted = max(int(percentile * self.total / 100 + 0.5), 1)
        cumulative = itertools.accumulate(self.counts)
        index = next((i for i, seen in enumerate(cumulative) if seen >= wanted), len(self.counts) - 1)
        return self.highs_us[index] / _US_PER_MS

    def mean_ms(self) -> float | None:
        """Return the mean of the buckets' middles; None when empty."""
        if not self.counts:
            return None
        weighted = sum(
            (low + high) / 2 * count
            for low, high, count in zip(self.lows_us, self.highs_us, self.counts, strict=True)
        )
        return weighted / self.total / _US_PER_MS

    def cumulative(self) -> tuple[Sequence[float], Sequence[float]]:
        """Return latencies (ms) and the share of requests that were at most so slow."""
        total = self.total
        return (
            [high / _US_PER_MS for high in self.highs_us],
            [seen / total for seen in itertools.accumulate(self.counts)],
        )


def decode(encoded: str, *, where: str) -> Histogram:
    """Decode one stored histogram; an empty string is an empty histogram.

    Raises RecordError, naming `where`, if the text is damaged.
    """
    try:
        return _decode(encoded) if encoded else Histogram()
    except ValueError as error:
        raise RecordError(
            f"{where}: {error}", hint="the record is damaged; run the experiment again"
        ) from error


# The study and the pictures ask for the same few thousand histograms of an experiment.
@functools.lru_cache(maxsize=8192)
def _decode(encoded: str) -> Histogram:
    occupied = tuple(buckets(encoded))
    return Histogram(*zip(*occupied, strict=True)) if occupied else Histogram()


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """Add histograms up, bucket by bucket."""
    buckets: dict[tuple[int, int], int] = {}
    for histogram in histograms:
        for low, high, count in zip(histogram.lows_us, histogram.highs_us, histogram.counts, strict=True):
            buckets[low, high] = buckets.get((low, high), 0) + count
    ordered = sorted(buckets.items())
    return Histogram(
        tuple(low for (low, _), _ in ordered),
        tuple(high for (_, high), _ in ordered),
        tuple(count for _, count in ordered),
    )
