"""The record of a run of load as it is stored: schema `drcio.load/1`, read and written declaratively.

What the generator itself holds, with histograms that can be added up, is `record.LoadRecord`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta

SCHEMA: Final = "drcio.load/1"

if TYPE_CHECKING:
    Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
else:
    Json = Any  # msgspec takes no type that contains itself, and in this one it has nothing to check

_FLOAT_MAX: Final = 1.7976931348623157e308

Count: TypeAlias = Annotated[int, Meta(ge=0)]
Number: TypeAlias = Annotated[float, Meta(ge=-_FLOAT_MAX, le=_FLOAT_MAX)]
"""A float that is neither infinite nor no number at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """One latency's percentiles over the measured window; None where no request completed."""

    p50_ms: Number | None = None
    p95_ms: Number | None = None
    p99_ms: Number | None = None
    max_ms: Number | None = None
    histogram: str = ""
    """HdrHistogram V2, base64, in microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadInterval:
    """What became of the requests that were scheduled in one second."""

    t_s: Number
    count: Count
    """Answered, however late."""
    errors: Count
    latency_histogram: str = ""
    timings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """What was sent before the measured window, and only counted."""

    sent: Count = 0
    errors: Mapping[str, Count] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadDocument:
    """A run of the load generator. Records made before 2026-11 lack the fields with a default."""

    schema: Literal["drcio.load/1"] = SCHEMA
    plan: Mapping[str, Json]
    planned: Count
    sent: Count
    window_s: Number | None = None
    """How much of the planned duration was sent: all of it, unless the run was interrupted."""
    completed: Count
    errors: Mapping[str, Count]
    """Failed requests by kind: timeout, connect, disconnected, http_503, http_4xx, ..."""
    offered_rps: Number
    achieved_rps: Number
    """Answered requests a second, until the window's end or the last answer, whichever was later."""
    lag_p99_ms: Number = 0.0
    """How late requests left against their own schedule."""
    lag_max_ms: Number = 0.0
    lag_histogram: str = ""
    fell_behind: bool
    interrupted: bool = False
    warmup: Warmup = field(default_factory=Warmup)
    latency: LatencySummary
    timings: Mapping[str, LatencySummary]
    """What the service reports of its own parts, by name: `fetch` is its reads from disk."""
    intervals: tuple[LoadInterval, ...]

    @property
    def failed(self) -> int:
        return sum(self.errors.values())
