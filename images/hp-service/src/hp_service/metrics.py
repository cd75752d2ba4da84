"""Count and time what the service does, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from hp_service.scorer import Scored

LATENCY_BUCKETS_S = (
    *(0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.007),
    *(0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07),
    *(0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0),
)
"""1 ms to 10 s in steps of at most 1.67: a quantile read from them is wrong by less than that."""
SCORE_BUCKETS = tuple(tenth / 10 for tenth in range(1, 11))


class Metrics:
    """The service's metrics in a registry of their own."""

    def __init__(self, read_path: str) -> None:
        self.registry = CollectorRegistry()
        self.latency = Histogram(
            "gnn_request_latency_seconds",
            "Time from a scoring request's arrival to its answer.",
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.fetch = Histogram(
            "gnn_feature_fetch_seconds",
            "Time from a request's first feature read to its last: the disk's part of the latency.",
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.requests = Counter(
            "gnn_requests", "Scoring requests by outcome.", ["outcome"], registry=self.registry
        )
        for outcome in ("ok", "invalid", "overload", "aborted", "error"):
            self.requests.labels(outcome)
        self.active = Gauge("gnn_active_requests", "Scoring requests in flight.", registry=self.registry)
        self.risk = Histogram(
            "gnn_risk_score", "Scores given.", buckets=SCORE_BUCKETS, registry=self.registry
        )
        self.rows = Counter(
            "gnn_feature_rows_read", "Feature rows of 4 KiB read from the disk.", registry=self.registry
        )
        info = Info("gnn_feature_read_path", "How feature rows are read.", registry=self.registry)
        info.info({"path": read_path})

    def observe(self, scored: Scored, latency_s: float) -> None:
        """Record one answered request."""
        self.latency.observe(latency_s)
        self.fetch.observe(scored.fetch_s)
        self.rows.inc(scored.rows)
        self.requests.labels("ok").inc()
        for score in scored.scores:
            self.risk.observe(score)

    def render(self) -> bytes:
        """Return the text exposition."""
        return generate_latest(self.registry)
