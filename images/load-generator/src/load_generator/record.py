"""What one run of load found out, how it becomes a document and comes back, and how several merge."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from load_generator.document import SCHEMA, Json, LatencySummary, LoadDocument, LoadInterval, Warmup
from load_generator.errors import RecordError
from load_generator.histogram import Histogram
from load_generator.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The requests that were scheduled in one second of the measured window."""

    t_s: float
    errors: int
    latency: Histogram
    timings: Mapping[str, Histogram]

    @property
    def count(self) -> int:
        """Requests that were answered."""
        return self.latency.count


@dataclass(frozen=True, kw_only=True)
class LoadRecord:
    """All that a run of load found out; latencies and timings are those of answered requests."""

    plan: Plan
    planned: int
    sent: int
    window_s: float
    """How much of the planned duration was sent: all of it, unless the run was interrupted."""
    errors: Mapping[str, int]
    """Failed requests by kind: timeout, connect, disconnected, http_503, http_4xx, ..."""
    achieved_rps: float
    """Answered requests a second, until the window's end or the last answer, whichever was later."""
    latency: Histogram
    """From the scheduled time to the end of the answer."""
    lag: Histogram
    """From the scheduled time to the sending: the generator's own lateness."""
    timings: Mapping[str, Histogram]
    """Durations by metric of the answers' Server-Timing header."""
    intervals: tuple[Interval, ...]
    warmup_sent: int = 0
    warmup_errors: Mapping[str, int] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def completed(self) -> int:
        return self.latency.count

    @property
    def offered_rps(self) -> float:
        return self.sent / self.window_s if self.window_s > 0 else 0.0

    @property
    def fell_behind(self) -> bool:
        lag_p99_ms = self.lag.percentile_ms(99)
        return lag_p99_ms is not None and lag_p99_ms > self.plan.lag_limit_ms

    def document(self) -> LoadDocument:
        """Return the record as it is stored."""
        return LoadDocument(
            plan=msgspec.to_builtins(self.plan),
            planned=self.planned,
            sent=self.sent,
            window_s=round(self.window_s, 3),
            completed=self.completed,
            errors=dict(self.errors),
            offered_rps=round(self.offered_rps, 3),
            achieved_rps=round(self.achieved_rps, 3),
            lag_p99_ms=self.lag.percentile_ms(99) or 0.0,
            lag_max_ms=self.lag.max_ms or 0.0,
            lag_histogram=self.lag.encode(),
            fell_behind=self.fell_behind,
            interrupted=self.interrupted,
            warmup=Warmup(sent=self.warmup_sent, errors=dict(self.warmup_errors)),
            latency=_summary(self.latency),
            timings={name: _summary(histogram) for name, histogram in sorted(self.timings.items())},
            intervals=tuple(
                LoadInterval(
                    t_s=interval.t_s,
                    count=interval.count,
                    errors=interval.errors,
                    latency_histogram=interval.latency.encode(),
                    timings={name: h.encode() for name, h in sorted(interval.timings.items())},
                )
                for interval in self.intervals
            ),
        )

    def to_json(self) -> dict[str, Json]:
        document: dict[str, Json] = msgspec.to_builtins(self.document())
        return document


def read_record(path: Path) -> LoadRecord:
    """Load a record from its file."""
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise RecordError(f"{path}: not JSON: {error}") from error
    return parse_record(document, source=str(path))


def parse_record(document: object, *, source: str) -> LoadRecord:
    """Read a record's JSON; `source` names it in errors."""
    found = document.get("schema") if isinstance(document, dict) else type(document).__name__
    if found != SCHEMA:
        raise RecordError(f"{source}: schema is {found!r}; expected {SCHEMA!r}")
    try:
        return _measured(msgspec.convert(document, LoadDocument))
    except ValueError as error:
        raise RecordError(
            f"{source}: field missing or malformed: {error}",
            hint="write it again with `load-generator run`",
        ) from error


def merge(records: Sequence[LoadRecord]) -> LoadRecord:
    """Combine generators that ran side by side against one service.

    Rates and counts add up, histograms add exactly, and the lateness is that of all requests together.
    The merged plan carries the summed rate and the first record's seed.
    """
    if not records:
        raise RecordError("nothing to merge; expected at least one record")
    first = records[0]
    for record in records[1:]:
        for name in ("url", "duration_s", "warmup_s", "arrivals", "lag_limit_ms"):
            if getattr(record.plan, name) != getattr(first.plan, name):
                raise RecordError(
                    f"plans differ in {name}: {getattr(first.plan, name)} and {getattr(record.plan, name)}",
                    hint="merge records of generators that ran the same plan side by side, seeds apart",
                )
    by_second: dict[float, list[Interval]] = {}
    for record in records:
        for interval in record.intervals:
            by_second.setdefault(interval.t_s, []).append(interval)
    return LoadRecord(
        plan=replace(first.plan, rate_rps=sum(record.plan.rate_rps for record in records)),
        planned=sum(record.planned for record in records),
        sent=sum(record.sent for record in records),
        window_s=max(record.window_s for record in records),
        errors=_sum_counts([record.errors for record in records]),
        achieved_rps=sum(record.achieved_rps for record in records),
        latency=_sum_histograms([record.latency for record in records]),
        lag=_sum_histograms([record.lag for record in records]),
        timings=_sum_named([record.timings for record in records]),
        intervals=tuple(
            Interval(
                t_s=t_s,
                errors=sum(part.errors for part in parts),
                latency=_sum_histograms([part.latency for part in parts]),
                timings=_sum_named([part.timings for part in parts]),
            )
            for t_s, parts in sorted(by_second.items())
        ),
        warmup_sent=sum(record.warmup_sent for record in records),
        warmup_errors=_sum_counts([record.warmup_errors for record in records]),
        interrupted=any(record.interrupted for record in records),
    )


def _summary(histogram: Histogram) -> LatencySummary:
    return LatencySummary(
        p50_ms=histogram.percentile_ms(50),
        p95_ms=histogram.percentile_ms(95),
        p99_ms=histogram.percentile_ms(99),
        max_ms=histogram.max_ms,
        histogram=histogram.encode(),
    )


def _measured(document: LoadDocument) -> LoadRecord:
    if document.window_s is None:
        raise ValueError("window_s is missing; a record without it cannot be merged")
    return LoadRecord(
        plan=msgspec.convert(document.plan, Plan),
        planned=document.planned,
        sent=document.sent,
        window_s=document.window_s,
        errors=document.errors,
        achieved_rps=document.achieved_rps,
        latency=Histogram.decode(document.latency.histogram),
        lag=Histogram.decode(document.lag_histogram),
        timings={name: Histogram.decode(timing.histogram) for name, timing in document.timings.items()},
        intervals=tuple(
            Interval(
                t_s=interval.t_s,
                errors=interval.errors,
                latency=Histogram.decode(interval.latency_histogram),
                timings={name: Histogram.decode(encoded) for name, encoded in interval.timings.items()},
            )
            for interval in document.intervals
        ),
        warmup_sent=document.warmup.sent,
        warmup_errors=document.warmup.errors,
        interrupted=document.interrupted,
    )


def _sum_counts(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for kind, count in part.items():
            total[kind] = total.get(kind, 0) + count
    return total


def _sum_histograms(parts: Sequence[Histogram]) -> Histogram:
    total = Histogram()
    for part in parts:
        total.add(part)
    return total


def _sum_named(parts: Sequence[Mapping[str, Histogram]]) -> dict[str, Histogram]:
    names = sorted({name for part in parts for name in part})
    return {name: _sum_histograms([part[name] for part in parts if name in part]) for name in names}
