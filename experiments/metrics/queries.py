"""What to ask of the Prometheus data of a run; `explore` shows these, each with a link."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WINDOW: Final = "10s"
"""Of rates; a twin is scraped once a second."""

QUERIES: Final[Mapping[str, str]] = {
    "Request latency, p95 (s)": (
        f"histogram_quantile(0.95, sum by (pod, le) (rate(gnn_request_latency_seconds_bucket[{WINDOW}])))"
    ),
    "Feature fetch latency, p95 (s): the disk's part": (
        f"histogram_quantile(0.95, sum by (pod, le) (rate(gnn_feature_fetch_seconds_bucket[{WINDOW}])))"
    ),
    "Requests a second": f"sum by (outcome) (rate(gnn_requests_total[{WINDOW}]))",
    "Batch throughput (MiB/s)": f"sum by (pod) (rate(batch_io_bytes_total[{WINDOW}])) / 2^20",
    "Batch operation latency, p95 (s)": (
        f"histogram_quantile(0.95, sum by (op, le) (rate(batch_io_latency_seconds_bucket[{WINDOW}])))"
    ),
    "Disk throughput by class, the kernel's count (MiB/s)": (
        f"sum by (priority) (rate(drcio_io_bytes_read_total[{WINDOW}])"
        f" + rate(drcio_io_bytes_write_total[{WINDOW}])) / 2^20"
    ),
    "Weights held": "drcio_io_weight",
    "Whether weights act": "drcio_io_effectiveness == 1",
    "I/O pressure (share of the time)": f"avg_over_time(drcio_io_stall_ratio[{WINDOW}])",
    "Time of a request in the device (s)": f"avg_over_time(drcio_device_latency_seconds[{WINDOW}])",
    "Budget: how many times its profile": "drcio_device_budget_ratio",
    "State of the policy": "max by (name, engine, state) (drcio_device_info)",
}
"""PromQL by title."""
