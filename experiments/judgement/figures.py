"""The figures that a study comes to: of a run, of a scenario, and of scenarios against each other."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from experiments.judgement.protection import Protection
from experiments.records.jsonfields import JsonObject
from experiments.records.record import Clock
from experiments.records.spec import Spec

MIB: Final = 1024 * 1024

Engine = Literal["iocost", "bfq", "iomax", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HpFigures:
    """What the high-priority service's client saw; latencies are None where none was measured."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    fetch_p50_ms: float | None
    fetch_p95_ms: float | None
    fetch_p99_ms: float | None
    offered_rps: float
    achieved_rps: float
    requests: int
    """Sent; over a scenario the sum of its runs."""
    errors: int
    """Failed; over a scenario the sum of its runs, so that no median hides one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LpFigures:
    """What the batch job moved in the measured window, by its cgroup's `io.stat`."""

    mib_s: float
    ops_s: float
    operations: int
    """Reads and writes that reached the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether a run measured what it was meant to measure."""

    completed: int
    failed_by_kind: Mapping[str, int]
    sent_share: float
    """Part of the planned requests that were sent."""
    fell_behind: bool
    lag_p99_ms: float
    sampled_share: float
    """Part of the measured window that samples cover."""
    hp_moved_bytes: int
    """What the service itself read from and wrote to its device."""
    lp_present: bool
    lp_active_share: float
    """Part of the window in which the batch job moved bytes."""
    lp_volume_share: float
    """The batch job's use of the volume: of its bandwidth or of its IOPS, whichever is more."""
    lp_shared_share: float | None
    """Part of the batch job's bytes that went to a device of the service; None if it moved none."""
    hp_cpu_wait_share: float
    """Part of the window in which the service waited for a CPU (`cpu.pressure` some)."""
    hp_throttled_share: float
    """Part of the window in which the service was held by its own `cpu.max`."""
    hp_restarts: int
    lp_restarts: int
    engine: Engine
    """What acted on the service's device for most of the window."""
    hp_weight: int | None
    lp_weight: int | None
    controller_share: float
    """Part of the window's samples in which the controller answered."""
    controller_state: str | None
    """What it said most often that it was doing on the service's device."""
    controller_inert_share: float
    """Part of its answers in which it held the service's weight to be without effect."""
    interrupted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuFigures:
    """What the CPUs did to a run; None where it was not recorded."""

    clock: Clock
    compute_p95_ms: float | None
    """What the service's own computing took of a request, by the service's clock: its parts but the fetch."""
    steal_share: float | None
    """Part of the node's CPU time that the machine beneath gave to somebody else."""
    taken_share: float | None
    """Part of the host's CPU time that other programs took while no CPU was idle."""
    others_share: float | None
    """Part of the host's CPU time that other programs took, whether or not it was missed."""
    load_1m: float | None
    """The host's load average in the middle of the window; the node's where there is no host."""
    hp_wait_per_work: float | None
    """How long the service waited for a CPU for every second that it had one (`cpu.pressure`, `cpu.stat`)."""
    lp_wait_share: float | None
    """Part of the window in which the batch job waited for a CPU (`cpu.pressure` some)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The figures of one run."""

    scenario: str
    policy: str
    repeat: int
    order: int
    hp: HpFigures
    lp: LpFigures
    health: Health
    cpu: CpuFigures
    protection: Protection | None
    """Against the baseline run of the same repeat; None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far the runs of a scenario lie apart."""

    min: float
    max: float
    mad: float
    """Median absolute deviation: half of the runs lie within this of the median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """A scenario's medians, their spread, and the runs that they come from."""

    name: str
    policy: str
    hp: HpFigures
    lp: LpFigures
    hp_spread: Mapping[str, Spread]
    lp_spread: Mapping[str, Spread]
    runs: tuple[RunResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """A ratio taken within each repeat, where both runs are neighbours in time."""

    median: float
    min: float
    max: float
    ratios: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Scenarios against each other; None where a side is missing.

    `*_p95_ratio` and `work_conservation` are the contract's: one scenario's median over another's
    of the same invocation. `paired` holds the same ratios run by run, which drift cannot move.
    """

    contention_p95_ratio: float | None
    drcio_p95_ratio: float | None
    contention_fetch_p95_ratio: float | None
    drcio_fetch_p95_ratio: float | None
    isolation: float | None
    """Of drcio; the contention scenario's own is beside it to show what there was to win."""
    isolation_01: float | None
    lat_imp: float | None
    fetch_lat_imp: float | None
    contention_isolation: float | None
    contention_lat_imp: float | None
    work_conservation: float | None
    paired: Mapping[str, Paired]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """All figures of an experiment."""

    spec: Spec
    environment: JsonObject
    environment_conflicts: tuple[str, ...]
    """Facts on which records disagree that should be one experiment's."""
    scenarios: Mapping[str, ScenarioResult]
    comparison: Comparison
    load_rates_rps: tuple[float, ...]
    """The different rates that were planned; more than one is no single experiment."""

    @property
    def repeats(self) -> int:
        """Return how many repeats were begun: those asked for, or more where more had to settle it."""
        return max([self.spec.repeats, *(run.repeat for run in self.runs)])

    @property
    def runs(self) -> tuple[RunResult, ...]:
        every = [run for result in self.scenarios.values() for run in result.runs]
        return tuple(sorted(every, key=lambda run: run.order))


Figure = Callable[[RunResult | ScenarioResult], float | None]


def p95_ms(result: RunResult | ScenarioResult) -> float | None:
    return result.hp.p95_ms


def fetch_p95_ms(result: RunResult | ScenarioResult) -> float | None:
    return result.hp.fetch_p95_ms


def lp_mib_s(result: RunResult | ScenarioResult) -> float | None:
    return result.lp.mib_s


def over(numerator: float | None, denominator: float | None) -> float | None:
    """Return a quotient; None where a part is unknown, or where there is nothing to divide by."""
    return numerator / denominator if numerator is not None and denominator else None


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of what is known; None where that is nothing."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
