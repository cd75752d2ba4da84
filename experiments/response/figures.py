"""Reaction times and shares out of raw observations. Pure.

All times are seconds of one clock, the guest's. A figure that cannot be given is None: what was
waited for did not happen while anybody looked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

REQUEST_FACTOR: Final = 1.3
FETCH_FACTOR: Final = 2.0
"""High priority's targets: so many times its own p95 beside a batch job on another volume. The fetch is
the part of a request that I/O control answers for."""

RUN_OF: Final = 20
"""Requests in a row of which at most one in twenty may miss the target for its p95 to count as kept."""

SETTLED_RUN_OF: Final = 200
"""As many of a device's settling: ten seconds of requests, as it is to be kept for good, beside later
probes, whose short queues two requests in a row may meet."""

FULL_SHARE: Final = 0.95
"""Of the device's full speed from which low priority counts as running at it."""

SETTLED_SHARE: Final = 0.80
SETTLED_WINDOW_S: Final = 5.0
FULL_WINDOW_S: Final = 1.0


class Request(NamedTuple):
    """One answered request; a failed one has infinite latencies."""

    sent_s: float
    latency_ms: float
    fetch_ms: float
    """The part of it that was reading from disk."""


class Targets(NamedTuple):
    """What high priority's p95 must not exceed."""

    request_ms: float
    fetch_ms: float


def targets(apart: Sequence[Request]) -> Targets | None:
    """Return the targets that follow from requests without contention for I/O; None without any."""
    request_ms = percentile([one.latency_ms for one in apart], 0.95)
    fetch_ms = percentile([one.fetch_ms for one in apart], 0.95)
    if request_ms is None or fetch_ms is None:
        return None
    return Targets(REQUEST_FACTOR * request_ms, FETCH_FACTOR * fetch_ms)


class Look(NamedTuple):
    """What pods had moved by a moment, in bytes, by the name of their cgroup."""

    t_s: float
    pods: Mapping[str, int]


def within(requests: Iterable[Request], start_s: float, end_s: float) -> list[Request]:
    """Return the requests sent in a window, in their order."""
    return sorted(
        (one for one in requests if start_s <= one.sent_s < end_s), key=lambda request: request.sent_s
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least this share of all do not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def inside_after_s(
    requests: Sequence[Request], start_s: float, target: Targets, *, run_of: int = RUN_OF
) -> dict[str, float | None]:
    """Return how long after `start_s` each p95 of `run_of` requests was in its target, and stayed there."""
    request_late = [one.latency_ms > target.request_ms for one in requests]
    fetch_late = [one.fetch_ms > target.fetch_ms for one in requests]
    return {
        "request": _inside_after_s(requests, start_s, request_late, run_of),
        "fetch": _inside_after_s(requests, start_s, fetch_late, run_of),
    }


def _inside_after_s(
    requests: Sequence[Request], start_s: float, late: Sequence[bool], run_of: int
) -> float | None:
    """Return when the first request was sent from which on no `run_of` in a row have too many late ones.

    None if fewer than `run_of` were sent from there on: then it was not seen for long enough.
    """
    allowed = run_of // 20
    outside = [index for index in range(len(late)) if sum(late[index : index + run_of]) > allowed]
    first = outside[-1] + 1 if outside else 0
    while first < len(late) and late[first]:
        first += 1
    if len(requests) - first < run_of:
        return None
    return 0.0 if first == 0 else max(0.0, requests[first].sent_s - start_s)


def mib_s(looks: Sequence[Look], pod: str, start_s: float, end_s: float) -> float | None:
    """Return a pod's mean throughput between the looks nearest to two moments."""
    inside = [look for look in looks if start_s <= look.t_s <= end_s and pod in look.pods]
    if len(inside) < 2:
        return None
    first, last = inside[0], inside[-1]
    return (last.pods[pod] - first.pods[pod]) / (last.t_s - first.t_s) / (1 << 20)


def full_speed_after_s(
    looks: Sequence[Look], pod: str, start_s: float, end_s: float, full_mib_s: float
) -> float | None:
    """Return how long after `start_s` the first second began in which the pod ran at full speed."""
    for look in looks:
        if start_s <= look.t_s <= end_s - FULL_WINDOW_S:
            rate = mib_s(looks, pod, look.t_s, look.t_s + FULL_WINDOW_S)
            if rate is not None and rate >= FULL_SHARE * full_mib_s:
                return look.t_s - start_s
    return None


def settled_after_s(
    looks: Sequence[Look], pod: str, start_s: float, end_s: float, full_mib_s: float
) -> float | None:
    """Return from when on every SETTLED_WINDOW_S showed at least SETTLED_SHARE of the full speed."""
    settled: float | None = None
    step_s = start_s
    while step_s + SETTLED_WINDOW_S <= end_s:
        rate = mib_s(looks, pod, step_s, step_s + SETTLED_WINDOW_S)
        good = rate is not None and rate >= SETTLED_SHARE * full_mib_s
        if not good:
            settled = None
        elif settled is None:
            settled = step_s - start_s
        step_s += 0.5
    return settled


def share_errors(
    looks: Sequence[Look], weights: Mapping[str, int], start_s: float, end_s: float
) -> dict[str, float] | None:
    """Return each pod's achieved share over its intended one, less one; 0 is exact.

    Intended is the pod's weight among all given; `weights` is by the name of the pod's cgroup.
    """
    rates = {pod: mib_s(looks, pod, start_s, end_s) for pod in weights}
    known = {pod: rate for pod, rate in rates.items() if rate is not None}
    total = sum(known.values())
    if len(known) < len(weights) or total == 0:
        return None
    of_all = sum(weights.values())
    return {pod: known[pod] / total / (weight / of_all) - 1 for pod, weight in weights.items()}
