"""Read a latency histogram out of Prometheus text, and a percentile out of two of them. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

_SAMPLE: Final = r"""^%s_bucket\{((?:[^"}\n]|"(?:[^"\\\n]|\\.)*+")*+)\}[ \t]+([^\s]+)"""
"""A line of one histogram: its labels, whose quoted values may hold anything, and its count. What follows,
a timestamp or an exemplar with labels and a number of its own, is not looked at."""

_BOUND: Final = re.compile(r'(?:^|,)\s*le="(?P<bound>[^"]*)"')
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9][0-9.]*(?:[eE][-+]?[0-9]+)?|Inf)", re.ASCII)
"""A bound or a count; Python's own reading takes `1_000` and digits of any script as well."""

BOUNDS_LIMIT: Final = 512
"""A histogram has a dozen or two; a text of a million bounds would be kept for every look in the window."""

LINE_LIMIT_CHARS: Final = 4096

COUNT_LIMIT: Final = 2.0**63
"""No program counts further; sums of greater ones are no numbers any more."""

Histogram = Mapping[float, float]
"""Cumulative count of observations up to each bound, in the metric's unit; over all label sets."""


def parse_histogram(text: str, metric: str) -> Histogram:
    """Return one histogram, summed over its label sets; empty if the text has none of that name.

    Lines that are not of the format are skipped: the text is another program's.

    Raises:
        ValueError: more bounds than a histogram has.
    """
    buckets: dict[float, float] = {}
    # Line by line and not all lines at once: as a list, a megabyte of short ones takes forty.
    for match in re.finditer(_SAMPLE % re.escape(metric), text, re.MULTILINE):
        bound = _BOUND.search(match[1])
        if bound is None or match.end() - match.start() > LINE_LIMIT_CHARS:
            continue
        key, value = _number(bound["bound"]), _number(match[2])
        if key is not None and value is not None and 0 <= value <= COUNT_LIMIT:
            buckets[key] = min(COUNT_LIMIT, buckets.get(key, 0.0) + value)
        if len(buckets) > BOUNDS_LIMIT:
            raise ValueError(f"histogram {metric} has more than {BOUNDS_LIMIT} bounds")
    return buckets


def _number(text: str) -> float | None:
    try:
        return float(text) if _NUMBER.fullmatch(text) else None
    except ValueError:  # 1.2.3
        return None


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
