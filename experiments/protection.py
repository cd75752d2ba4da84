"""Isolation and latency impact, as resctl-bench's `protection` defines them.

isol = min(rps / base_rps, 1), sampled through the run; isol-01 is its 1st percentile.
lat_imp = max(lat / base_lat - 1, 0), base_lat taken without the batch job.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from experiments import histogram
from experiments.record import LoadInterval, LoadRecord

REQUESTS_PER_WINDOW: Final = 50
"""resctl-bench samples once a second at hundreds of requests a second. At a few a second a single
request that ends just after the second is 7% of it, so a window lasts until it holds this many."""

FETCH: Final = "fetch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """How well one run was shielded, against the baseline run of the same repeat."""

    isolation: float
    isolation_01: float
    lat_imp: float | None
    fetch_lat_imp: float | None


def window_s(rate_rps: float) -> int:
    """Return the length of a sampling window in whole seconds, at least one."""
    return max(1, math.ceil(REQUESTS_PER_WINDOW / rate_rps)) if rate_rps > 0 else 1


def protection(run: LoadRecord, base: LoadRecord, *, duration_s: float) -> Protection | None:
    """Compare a run with its baseline window by window; nothing if the baseline completed nothing."""
    length_s = window_s(base.achieved_rps)
    windows = max(1, int(duration_s // length_s))
    run_windows, base_windows = (_by_window(load, length_s) for load in (run, base))
    isolations = [
        min(_completed(run_windows[index]) / expected, 1.0)
        for index in range(windows)
        if (expected := _completed(base_windows[index]))
    ]
    if not isolations:
        return None
    run_order = [run_windows[index] for index in range(windows)]
    return Protection(
        isolation=statistics.fmean(isolations),
        # The 1st percentile by nearest rank; of fewer than a hundred windows that is the worst.
        isolation_01=sorted(isolations)[max(0, math.ceil(len(isolations) * 0.01) - 1)],
        lat_imp=_impact(run_order, base.latency.histogram, lambda interval: interval.latency_histogram),
        fetch_lat_imp=(
            _impact(run_order, base.timings[FETCH].histogram, lambda i: i.timings.get(FETCH, ""))
            if FETCH in base.timings
            else None
        ),
    )


def _by_window(load: LoadRecord, length_s: int) -> defaultdict[int, list[LoadInterval]]:
    windows: defaultdict[int, list[LoadInterval]] = defaultdict(list)
    for interval in load.intervals:
        windows[int(interval.t_s // length_s)].append(interval)
    return windows


def _completed(intervals: Sequence[LoadInterval]) -> int:
    return sum(interval.count for interval in intervals)


def _impact(
    windows: Sequence[Sequence[LoadInterval]], base: str, read: Callable[[LoadInterval], str]
) -> float | None:
    """Average the growth of the mean latency over the windows in which requests completed."""
    base_ms = histogram.decode(base, where="baseline latency").mean_ms()
    means_ms = [
        histogram.merge(histogram.decode(read(i), where=f"interval at {i.t_s:g} s") for i in window).mean_ms()
        for window in windows
    ]
    impacts = [max(mean_ms / base_ms - 1, 0.0) for mean_ms in means_ms if mean_ms is not None and base_ms]
    return statistics.fmean(impacts) if impacts else None
