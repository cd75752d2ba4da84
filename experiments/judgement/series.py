"""Turn cumulative counters into what happened between two samples."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from experiments.records.record import PodSample, RunRecord, Sample


class Timed(Protocol):
    """A look at something at one moment."""

    @property
    def t_s(self) -> float: ...


US_PER_S = 1e6

Look = TypeVar("Look", bound=Timed)
Counter = Callable[[Sample], int | None]
"""Reads one cumulative counter out of a sample; None where it was not there."""


@dataclass(frozen=True, slots=True)
class Step:
    """How much a counter grew between two neighbouring samples."""

    start_s: float
    end_s: float
    delta: float

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s

    @property
    def per_s(self) -> float:
        return self.delta / self.seconds


@dataclass(frozen=True, slots=True)
class Growth:
    """How much a counter grew within a window, and how much of the window was seen."""

    delta: float
    seconds: float
    active_seconds: float
    """Time in steps in which it grew at all."""

    @property
    def per_s(self) -> float:
        return self.delta / self.seconds if self.seconds else 0.0


def steps(samples: Sequence[Look], counter: Callable[[Look], int | None]) -> Iterator[Step]:
    """Yield a counter's growth between neighbouring samples.

    A counter that went down was started anew (a cgroup was replaced): all it shows is growth.
    """
    for earlier, later in itertools.pairwise(samples):
        before, after = counter(earlier), counter(later)
        if before is None or after is None or later.t_s <= earlier.t_s:
            continue
        yield Step(earlier.t_s, later.t_s, after - before if after >= before else after)


def growth(
    samples: Sequence[Look], counter: Callable[[Look], int | None], *, start_s: float, end_s: float
) -> Growth:
    """Add up a counter's growth within a window; a step across its edge counts in proportion."""
    delta = seconds = active = 0.0
    for step in steps(samples, counter):
        overlap_s = min(step.end_s, end_s) - max(step.start_s, start_s)
        if overlap_s <= 0:
            continue
        delta += step.delta * overlap_s / step.seconds
        seconds += overlap_s
        active += overlap_s if step.delta > 0 else 0.0
    return Growth(delta, seconds, active)


def growth_in_run(record: RunRecord, counter: Counter) -> Growth:
    """Add up a counter's growth within a run's measured window."""
    return growth(record.samples, counter, start_s=0.0, end_s=record.duration_s)


def pods_counter(pods: Sequence[str], read: Callable[[PodSample], int]) -> Counter:
    """Sum a counter over those of the named pods that are in a sample; None if none is."""

    def counter(sample: Sample) -> int | None:
        found = [sample.pods[name] for name in pods if name in sample.pods]
        return sum(read(pod) for pod in found) if found else None

    return counter


def pod_bytes(pod: PodSample, devices: Sequence[str] | None = None) -> int:
    """Bytes read and written so far, on all devices or on the given ones."""
    return sum(io.rbytes + io.wbytes for device, io in pod.io.items() if devices is None or device in devices)


def pod_operations(pod: PodSample, devices: Sequence[str] | None = None) -> int:
    """Reads and writes so far, on all devices or on the given ones."""
    return sum(io.rios + io.wios for device, io in pod.io.items() if devices is None or device in devices)


def worst_pod_share(record: RunRecord, pods: Sequence[str], read: Callable[[PodSample], int]) -> float:
    """Return the largest share of the window that a microsecond counter of any of the pods grew by."""
    counters = [pods_counter([pod], read) for pod in pods]
    return max((growth_in_run(record, counter).per_s / US_PER_S for counter in counters), default=0.0)
