"""Latency histograms as the load generator stores them: base64 HdrHistogram V2, in microseconds."""

from __future__ import annotations

import binascii
import functools
import itertools
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# hdrhistogram ships no type information; this module is the only one that touches it.
from hdrh.codec import (  # type: ignore[import-untyped]
    HdrCookieException,
    HdrHistogramSettingsException,
    HdrLengthException,
)
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from experiments.errors import RecordError

_DAMAGED = (
    HdrCookieException,
    HdrLengthException,
    HdrHistogramSettingsException,
    binascii.Error,
    zlib.error,
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
    MemoryError,
)
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
        """Return a percentile (0 < p <= 100) by HdrHistogram's own rule; nothing when empty."""
        if not self.counts:
            return None
        wanted = max(int(percentile * self.total / 100 + 0.5), 1)
        cumulative = itertools.accumulate(self.counts)
        index = next((i for i, seen in enumerate(cumulative) if seen >= wanted), len(self.counts) - 1)
        return self.highs_us[index] / _US_PER_MS

    def mean_ms(self) -> float | None:
        """Return the mean of the buckets' middles; nothing when empty."""
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
    except _DAMAGED as error:
        raise RecordError(
            f"{where}: not an HdrHistogram (V2, base64): {error or type(error).__name__}",
            hint="the record is damaged; run the experiment again",
        ) from error


# The study and the pictures ask for the same few thousand histograms of an experiment.
@functools.lru_cache(maxsize=8192)
def _decode(encoded: str) -> Histogram:
    decoded = HdrHistogram.decode(encoded)
    counts: list[int] = decoded.counts[:]
    occupied = tuple(itertools.compress(range(len(counts)), counts))
    lows = tuple(decoded.get_value_from_index(index) for index in occupied)
    return Histogram(
        lows,
        tuple(decoded.get_highest_equivalent_value(low) for low in lows),
        tuple(counts[index] for index in occupied),
    )


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


def encode(latencies_us: Iterable[int], *, highest_us: int = 3_600_000_000) -> str:
    """Encode latencies (microseconds) as the load generator does: three significant digits."""
    histogram = HdrHistogram(1, highest_us, 3)
    for latency_us in latencies_us:
        histogram.record_value(latency_us)
    encoded: bytes = histogram.encode()
    return encoded.decode("ascii")
