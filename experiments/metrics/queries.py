"""What to ask of the Prometheus data of a run; `explore` shows these, each with a link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question and its PromQL."""

    title: str
    promql: str


WINDOW: Final = "10s"
"""Of rates; a twin is scraped once a second."""

QUERIES: Final = (
    Query(
        title="Request latency, p95 (s)",
        promql="histogram_quantile(0.95, sum by (pod, le) "
        f"(rate(gnn_request_latency_seconds_bucket[{WINDOW}])))",
    ),
    Query(
        title="Feature fetch latency, p95 (s): the disk's part",
        promql="histogram_quantile(0.95, sum by (pod, le) "
        f"(rate(gnn_feature_fetch_seconds_bucket[{WINDOW}])))",
    ),
    Query(title="Requests a second", promql=f"sum by (outcome) (rate(gnn_requests_total[{WINDOW}]))"),
    Query(
        title="Batch throughput (MiB/s)", promql=f"sum by (pod) (rate(batch_io_bytes_total[{WINDOW}])) / 2^20"
    ),
    Query(
        title="Batch operation latency, p95 (s)",
        promql=f"histogram_quantile(0.95, sum by (op, le) (rate(batch_io_latency_seconds_bucket[{WINDOW}])))",
    ),
    Query(
        title="Disk throughput by class, the kernel's count (MiB/s)",
        promql=f"sum by (priority) (rate(drcio_io_bytes_read_total[{WINDOW}])"
        f" + rate(drcio_io_bytes_write_total[{WINDOW}])) / 2^20",
    ),
    Query(title="Weights held", promql="drcio_io_weight"),
    Query(title="Whether weights act", promql="drcio_io_effectiveness == 1"),
    Query(title="I/O pressure (share of the time)", promql=f"avg_over_time(drcio_io_stall_ratio[{WINDOW}])"),
    Query(
        title="Time of a request in the device (s)",
        promql=f"avg_over_time(drcio_device_latency_seconds[{WINDOW}])",
    ),
    Query(title="Budget: how many times its profile", promql="drcio_device_budget_ratio"),
    Query(title="State of the policy", promql="max by (name, engine, state) (drcio_device_info)"),
)
