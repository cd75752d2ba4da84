"""The job's counters as Prometheus metrics.

Collected from `JobStats` when scraped: an observation per operation through the client library costs
more than the operation.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from lp_batch.errors import EnvironmentFault
from lp_batch.patterns import Pattern
from lp_batch.stats import JobStats

_BOUNDS_US = [1 << power for power in range(6, 25)]
"""64 us to 16.8 s; powers of two, because these the statistics count exactly."""


class JobCollector(Collector):
    """Reads one run's statistics."""

    def __init__(self, stats: JobStats, pattern: Pattern) -> None:
        self._stats = stats
        self._pattern = pattern.value

    def collect(self) -> Iterator[Metric]:
        labels = ["op", "pattern"]
        operations = CounterMetricFamily("batch_io_operations", "Finished I/O operations.", labels=labels)
        moved = CounterMetricFamily("batch_io_bytes", "Bytes moved by finished operations.", labels=labels)
        latency = HistogramMetricFamily(
            "batch_io_latency_seconds", "Time from submission to completion of one operation.", labels=labels
        )
        for op, stats in (("read", self._stats.read), ("write", self._stats.write)):
            values = [op, self._pattern]
            # Buckets before the total: an operation that finishes in between must not make the sum exceed it.
            counts = stats.count_at_most_us(_BOUNDS_US)
            total = max(stats.operations, counts[-1])
            buckets = [
                (str(bound / 1e6), float(count)) for bound, count in zip(_BOUNDS_US, counts, strict=True)
            ]
            latency.add_metric(
                values, buckets=[*buckets, ("+Inf", float(total))], sum_value=stats.latency_sum_us / 1e6
            )
            operations.add_metric(values, total)
            moved.add_metric(values, stats.bytes)
        active = GaugeMetricFamily("batch_active_operations", "Operations in flight.", labels=["pattern"])
        active.add_metric([self._pattern], self._stats.active)
        verified = CounterMetricFamily(
            "batch_io_verified_blocks", "Blocks read and found intact.", labels=["check"]
        )
        verified.add_metric(["sampled"], self._stats.verified_sampled)
        verified.add_metric(["full"], self._stats.verified_full)
        yield from (operations, moved, latency, active, verified)


def serve_metrics(stats: JobStats, pattern: Pattern, port: int) -> None:
    """Serve `/metrics` from a thread until the process ends."""
    registry = CollectorRegistry()
    registry.register(JobCollector(stats, pattern))
    try:
        start_http_server(port, registry=registry)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot serve metrics on port {port}: {error.strerror}",
            hint="choose another --metrics-port, or 0 for none",
        ) from error
