"""A fuzz's outcome as its file `fuzz.json` has it: these classes are the format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from experiments.records.jsonfields import JsonObject
from experiments.records.values import Count, Number

SUMMARY_FILE: Final = "fuzz.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFigures:
    """One arm on one seed, in terms of the seed's own arms (`judge.Figures`)."""

    arm: str
    p50_ratio: Number
    p95_ratio: Number
    p99_ratio: Number
    share: Number
    settled_s: Number | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A seed that misses a bound."""

    seed: Count
    law: ArmFigures
    best_fixed: ArmFigures | None
    regretted_for: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOutcome:
    """One thing that is wanted, and the seeds that miss it."""

    name: str
    found: Number
    wanted: str
    met: bool
    seeds: tuple[Missed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the runs took, by the node's clock and by the host's."""

    guest_s: Number
    host_s: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All seeds together."""

    schema: str
    where: str
    """`simulated` or `twin`."""
    measured_s: Number
    seeds: tuple[Count, ...]
    cpu_short: tuple[Count, ...]
    """Judged apart: `checks_cpu_short` is over these, `checks` over the others."""
    volume_not_full: tuple[Count, ...] = ()
    errors: Mapping[str, JsonObject]
    """By seed, what went wrong by arm."""
    checks: tuple[CheckOutcome, ...]
    checks_cpu_short: tuple[CheckOutcome, ...] = ()
    cost: Cost
    figures: tuple[Mapping[str, ArmFigures], ...]
    """Of each seed that can be judged, by arm."""
    regretted_for: Mapping[str, str | None]
    """By seed, a fixed knob that beats the law in both."""
