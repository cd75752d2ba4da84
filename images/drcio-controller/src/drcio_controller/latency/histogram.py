"""Read a latency histogram out of Prometheus text, and a percentile out of two of them. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

_SAMPLE: Final = re.compile(r"(?P<name>[A-Za-z_:][\w:]*)_bucket\{(?P<labels>.*)\}\s+(?P<value>\S+)")
_BOUND: Final = re.compile(r'(?:^|,)\s*le="(?P<bound>[^"]*)"')

BOUNDS_LIMIT: Final = 512
"""A histogram has a dozen or two; a text of a million bounds would be kept for every look in the window."""

LINE_LIMIT_CHARS: Final = 4096

Histogram = Mapping[float, float]
"""Cumulative count of observations up to each bound, in the metric's unit; over all label sets."""


def parse_histogram(text: str, metric: str) -> Histogram:
    """Return one histogram, summed over its label sets; empty if the text has none of that name.

    Lines that are not what the format says are skipped: the text is another program's.

    Raises:
        ValueError: more bounds than a histogram has.
    """
    buckets: dict[float, float] = {}
    prefix = f"{metric}_bucket"
    for line in text.splitlines():
        if not line.startswith(prefix) or len(line) > LINE_LIMIT_CHARS:
            continue
        match = _SAMPLE.match(line)
        bound = _BOUND.search(match["labels"]) if match is not None and match["name"] == metric else None
        if match is None or bound is None:
            continue
        try:
            key, value = float(bound["bound"]), float(match["value"])
        except ValueError:
            continue
        if not math.isnan(key) and math.isfinite(value) and value >= 0:
            buckets[key] = buckets.get(key, 0.0) + value
        if len(buckets) > BOUNDS_LIMIT:
            raise ValueError(f"histogram {metric} has more than {BOUNDS_LIMIT} bounds")
    return buckets


def percentile_between(before: Histogram, after: Histogram, percentile: float) -> float | None:
    """Return a percentile of what was observed between two looks, or None if nothing was.

    Linear inside a bucket, as Prometheus' own histogram_quantile; what is over the last finite bound
    counts as that bound. A restarted program, whose counts went back, is counted from zero.
    """
    if any(after.get(bound, 0.0) < count for bound, count in before.items()):
        before = {}
    bounds = sorted(after)
    counts = [after[bound] - before.get(bound, 0.0) for bound in bounds]
    if not counts or counts[-1] <= 0:
        return None
    rank = percentile / 100 * counts[-1]
    below, lower = 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=True):
        if count >= rank:
            if math.isinf(bound):
                return lower
            inside = count - below
            return bound if inside <= 0 else lower + (bound - lower) * (rank - below) / inside
        below, lower = count, bound
    return lower
