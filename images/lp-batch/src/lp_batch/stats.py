"""Counters and latencies, cheap enough to be kept for every operation.

The same integers feed the Prometheus endpoint and the summary: an observation is a list increment,
and everything else is worked out when somebody asks.
"""

import bisect
import itertools
from dataclasses import dataclass, field

_SUB_BITS = 5
_SUB = 1 << _SUB_BITS
_BUCKETS = (40 - _SUB_BITS) * _SUB


def bucket_end_us(bucket: int) -> int:
    """Return the smallest latency above a bucket."""
    if bucket < 2 * _SUB:
        return bucket + 1
    shift = (bucket >> _SUB_BITS) - 1
    return ((bucket & (_SUB - 1)) + _SUB + 1) << shift


def _zeros() -> list[int]:
    return [0] * _BUCKETS


@dataclass
class OpStats:
    """Finished operations of one kind."""

    operations: int = 0
    bytes: int = 0
    latency_sum_us: int = 0
    latency_max_us: int = 0
    buckets: list[int] = field(default_factory=_zeros)

    def observe(self, moved_bytes: int, latency_us: int) -> None:
        self.operations += 1
        self.bytes += moved_bytes
        self.latency_sum_us += latency_us
        if latency_us > self.latency_max_us:
            self.latency_max_us = latency_us
        # Exact below 64 us, then 32 buckets per doubling (3% wide).
        if latency_us < 2 * _SUB:
            self.buckets[latency_us] += 1
        else:
            shift = latency_us.bit_length() - _SUB_BITS - 1
            self.buckets[min((shift << _SUB_BITS) + (latency_us >> shift), _BUCKETS - 1)] += 1

    def count_at_most_us(self, bounds_us: list[int]) -> list[int]:
        """Return how many operations took less than each bound; exact for powers of two."""
        counts: list[int] = []
        total = 0
        bucket = 0
        for bound_us in bounds_us:
            while bucket < _BUCKETS and bucket_end_us(bucket) <= bound_us:
                total += self.buckets[bucket]
                bucket += 1
            counts.append(total)
        return counts


def percentile_us(stats: list[OpStats], quantile: float) -> int:
    """Return the latency below which `quantile` of the operations lie, 0 without operations."""
    cumulative = list(itertools.accumulate(map(sum, zip(*(one.buckets for one in stats), strict=True))))
    operations = cumulative[-1]
    if operations == 0:
        return 0
    bucket = bisect.bisect_left(cumulative, quantile * operations)
    return min(bucket_end_us(bucket), max(one.latency_max_us for one in stats))


@dataclass
class JobStats:
    """All that a run counts."""

    read: OpStats = field(default_factory=OpStats)
    write: OpStats = field(default_factory=OpStats)
    active: int = 0
    verified_sampled: int = 0
    verified_full: int = 0

    @property
    def both(self) -> list[OpStats]:
        return [self.read, self.write]

    @property
    def operations(self) -> int:
        return self.read.operations + self.write.operations

    @property
    def bytes(self) -> int:
        return self.read.bytes + self.write.bytes
