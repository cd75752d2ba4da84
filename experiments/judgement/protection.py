"""Isolation and latency impact, as resctl-bench's `protection` defines them.

isol = min(rps / base_rps, 1), sampled through the run; isol-01 is its 1st percentile.
lat_imp = max(lat / base_lat - 1, 0), base_lat taken without the batch job.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from experiments.records import histogram
from load_generator.document import LoadDocument, LoadInterval

REQUESTS_PER_WINDOW: Final = 50
"""resctl-bench samples once a second at hundreds of requests a second. At a few a second a single
request that ends just after the second is 7% of it, so a window lasts until it holds this many."""

FETCH: Final = "fetch"
"""The service's name for its reads from disk, in its Server-Timing header."""
_US_PER_S: Final = 1e6


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


def protection(run: LoadDocument, base: LoadDocument, *, duration_s: float) -> Protection | None:
    """Compare a run with its baseline window by window; None if the baseline completed nothing."""
    length_s = window_s(base.achieved_rps)
    windows = range(max(1, int(duration_s // length_s)))
    completed, expected = (_completions(load, length_s) for load in (run, base))
    isolations = [min(completed[window] / expected[window], 1.0) for window in windows if expected[window]]
    if not isolations:
        return None
    fetch = base.timings.get(FETCH)
    return Protection(
        isolation=statistics.fmean(isolations),
        # The 1st percentile by nearest rank; of fewer than a hundred windows that is the worst.
        isolation_01=sorted(isolations)[max(0, math.ceil(len(isolations) * 0.01) - 1)],
        lat_imp=_impact(run, base.latency.histogram, length_s, lambda entry: entry.latency_histogram),
        fetch_lat_imp=(
            _impact(run, fetch.histogram, length_s, lambda entry: entry.timings.get(FETCH, ""))
            if fetch is not None
            else None
        ),
    )


def _completions(load: LoadDocument, length_s: int) -> Counter[int]:
    """Count the requests that were answered in each window.

    The load generator files a request under the second for which it was scheduled, so its answer
    comes a latency later: here from the middle of that second, for run and baseline alike.
    """
    completions: Counter[int] = Counter()
    for entry in load.intervals:
        latencies = histogram.decode(entry.latency_histogram, where=f"interval at {entry.t_s:g} s")
        for high_us, count in zip(latencies.highs_us, latencies.counts, strict=True):
            completions[int((entry.t_s + 0.5 + high_us / _US_PER_S) // length_s)] += count
    return completions


def _impact(run: LoadDocument, base: str, length_s: int, read: Callable[[LoadInterval], str]) -> float | None:
    """Average the growth of the mean latency over the windows whose requests were answered at all."""
    base_ms = histogram.decode(base, where="baseline latency").mean_ms()
    by_window: defaultdict[int, list[histogram.Histogram]] = defaultdict(list)
    for entry in run.intervals:
        by_window[int(entry.t_s // length_s)].append(
            histogram.decode(read(entry), where=f"interval at {entry.t_s:g} s")
        )
    means_ms = [histogram.merge(window).mean_ms() for window in by_window.values()]
    impacts = [max(mean_ms / base_ms - 1, 0.0) for mean_ms in means_ms if mean_ms is not None and base_ms]
    return statistics.fmean(impacts) if impacts else None
