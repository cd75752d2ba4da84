"""Judge a study: pass, fail, inconclusive or invalid, each with its reasons in plain words.

invalid       the runs did not measure what they were meant to; nothing follows from the figures
inconclusive  the runs are sound, but do not suffice to tell
fail          the figures tell, and DRC-IO missed what was promised
pass          every criterion is met by sound runs

The worst finding decides, in this order: invalid, inconclusive, fail, pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from experiments.spec import BASELINE, CONTENTION, DRCIO, SCENARIOS, plan_runs
from experiments.study import RunResult, ScenarioResult, Study

Outcome = Literal["pass", "fail", "inconclusive", "invalid"]
Badness = Literal["fail", "inconclusive", "invalid"]

EXIT_CODES: Final[dict[Outcome, int]] = {"pass": 0, "fail": 1, "inconclusive": 3, "invalid": 4}
"""What `run` and `report` exit with; 2 is left to wrong usage and to errors."""

_WORST_FIRST: Final[tuple[Badness, ...]] = ("invalid", "inconclusive", "fail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The limits of the judgement. The first five are the promise; the others guard its meaning."""

    contention_p95_ratio_min: float = 3.0
    drcio_p95_ratio_max: float = 1.3
    drcio_fetch_p95_ratio_max: float | None = 5.0
    """Nothing for a service that does not report its reads from disk: then they are not judged."""
    work_conservation_min: float = 0.80
    failed_requests_max: int = 0

    contention_fetch_p95_ratio_min: float = 3.0
    """Without this, latency that grew for want of a CPU would pass for I/O contention."""
    lp_volume_share_min: float = 0.25
    """Less than a quarter of the volume is not contention for it."""
    lp_active_share_min: float = 0.80
    lp_shared_share_min: float = 0.90
    baseline_lp_volume_share_max: float = 0.01
    hp_cpu_wait_share_max: float = 0.50
    """Waiting for a CPU half of the time, the service measures the CPU and not the volume."""
    hp_cpu_wait_excess_max: float = 0.25
    """How much more it may wait for a CPU beside the batch job than it does alone."""
    hp_throttled_share_max: float = 0.05
    sent_share_min: float = 0.95
    """Of the planned requests; below it the generator did not keep its schedule."""
    achieved_share_min: float = 0.90
    """Of baseline: a service that cannot keep up alone has a queue of its own making."""
    completed_min: int = 100
    """A 95th percentile of fewer stands on fewer than five requests."""
    sampled_share_min: float = 0.80
    controller_share_min: float = 0.80
    controller_inert_share_max: float = 0.50
    baseline_p95_spread_max: float = 2.0
    """Largest over smallest; a quiet twin repeats within a factor of 1.5 (measured)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that kept a study from passing, or, in a pass, that made it."""

    outcome: Outcome
    code: str
    statement: str
    runs: tuple[str, ...] = ()
    """The runs that it was found in; empty for what is true of the whole experiment."""

    @property
    def text(self) -> str:
        """Say it, with the runs named; the figures in it are the first run's."""
        if not self.runs:
            return self.statement
        first, *others = self.runs
        same = f" (the same in {', '.join(others)})" if others else ""
        return f"{first}: {self.statement}{same}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One promise with what was found."""

    name: str
    label: str
    found: float | None
    limit: float
    at_least: bool
    """Whether the limit is the least that is allowed; otherwise it is the most."""
    missed: Badness
    """What missing it makes of the study."""

    @property
    def met(self) -> bool | None:
        """Say whether it holds; nothing where there is no figure to hold against it."""
        if self.found is None:
            return None
        return self.found >= self.limit if self.at_least else self.found <= self.limit

    @property
    def text(self) -> str:
        if self.found is None:
            return f"{self.label} is unknown (limit {self._limit})"
        return f"{self.label} is {self.found:.2f} ({self._limit})"

    @property
    def _limit(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome, why, and every promise beside its figure."""

    outcome: Outcome
    reasons: tuple[Reason, ...]
    criteria: tuple[Criterion, ...]
    remarks: tuple[Reason, ...] = ()
    """Faults of the runs of compared policies: they touch the comparison, not the verdict on ours."""

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(reason.text for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class _Finding:
    """A fault of one run, before the same fault of several runs is told once."""

    outcome: Badness
    code: str
    run: str
    text: str


def judge(study: Study, thresholds: Thresholds | None = None) -> Verdict:
    """Judge a study against the thresholds (by default those of the contract)."""
    limits = thresholds or Thresholds()
    criteria = criteria_of(study, limits)
    reasons = [*_faults(study, limits, lambda run: run.scenario in SCENARIOS), *_study_faults(study, limits)]
    if all(name in study.scenarios for name in SCENARIOS):
        reasons += _missed(criteria)
    outcome: Outcome = next(
        (level for level in _WORST_FIRST if any(reason.outcome == level for reason in reasons)), "pass"
    )
    if outcome == "pass":
        reasons = [Reason(outcome="pass", code=item.name, statement=item.text) for item in criteria]
    return Verdict(
        outcome=outcome,
        reasons=tuple(sorted(reasons, key=lambda reason: (*_WORST_FIRST, "pass").index(reason.outcome))),
        criteria=criteria,
        remarks=tuple(_faults(study, limits, lambda run: run.scenario not in SCENARIOS)),
    )


def criteria_of(study: Study, limits: Thresholds) -> tuple[Criterion, ...]:
    """Set every promise beside its figure."""
    found = study.comparison
    errors = sum(result.hp.errors for name, result in study.scenarios.items() if name in SCENARIOS)
    criteria = [
        Criterion(
            name="contention_p95_ratio",
            label="p95 under contention over p95 alone",
            found=found.contention_p95_ratio,
            limit=limits.contention_p95_ratio_min,
            at_least=True,
            missed="inconclusive",
        ),
        Criterion(
            name="drcio_p95_ratio",
            label="p95 under DRC-IO over p95 alone",
            found=found.drcio_p95_ratio,
            limit=limits.drcio_p95_ratio_max,
            at_least=False,
            missed="fail",
        ),
        Criterion(
            name="work_conservation",
            label="batch throughput under DRC-IO over uncontrolled",
            found=found.work_conservation,
            limit=limits.work_conservation_min,
            at_least=True,
            missed="fail",
        ),
        Criterion(
            name="failed_requests",
            label="failed requests",
            found=float(errors) if study.scenarios else None,
            limit=limits.failed_requests_max,
            at_least=False,
            missed="fail",
        ),
    ]
    if limits.drcio_fetch_p95_ratio_max is not None:
        criteria.insert(
            2,
            Criterion(
                name="drcio_fetch_p95_ratio",
                label="disk fetch p95 under DRC-IO over alone",
                found=found.drcio_fetch_p95_ratio,
                limit=limits.drcio_fetch_p95_ratio_max,
                at_least=False,
                missed="fail",
            ),
        )
    return tuple(criteria)


def headline(study: Study, verdict: Verdict) -> str:
    """Say the outcome in one sentence."""
    found = study.comparison
    if verdict.outcome in ("invalid", "inconclusive"):
        word = "not valid" if verdict.outcome == "invalid" else "not conclusive"
        more = len(verdict.reasons) - 1
        tail = f" (and {more} more reason{'s' if more > 1 else ''})" if more else ""
        return f"This experiment is {word}: {verdict.reasons[0].statement}{tail}."
    kept = (
        f"p95 latency is {found.drcio_p95_ratio:.2f}x of what it is alone, "
        f"against {found.contention_p95_ratio:.1f}x without control, "
        f"and the batch job gets {found.work_conservation:.0%} of its uncontrolled throughput"
    )
    if verdict.outcome == "pass":
        return f"DRC-IO kept the service fast: {kept}."
    return f"DRC-IO missed its promise: {kept}; {verdict.reasons[0].statement}."


def _missed(criteria: Sequence[Criterion]) -> Iterator[Reason]:
    for item in criteria:
        if item.met is None:
            yield Reason(outcome="inconclusive", code=item.name, statement=item.text)
        elif not item.met and item.name == "contention_p95_ratio":
            yield Reason(
                outcome=item.missed,
                code=item.name,
                statement=f"{item.text}: there was nothing to protect the service from",
            )
        elif not item.met and item.name != "failed_requests":
            yield Reason(outcome=item.missed, code=item.name, statement=item.text)


def _faults(study: Study, limits: Thresholds, of: Callable[[RunResult], bool]) -> Iterator[Reason]:
    return _tell_once(finding for run in study.runs if of(run) for finding in _run_faults(run, study, limits))


def _run_faults(run: RunResult, study: Study, limits: Thresholds) -> Iterator[_Finding]:
    """Find what makes one run unfit to be judged, or, under DRC-IO, what DRC-IO did wrong."""
    health = run.health

    def finding(outcome: Badness, code: str, text: str) -> _Finding:
        return _Finding(outcome, code, f"{run.scenario} r{run.repeat}", text)

    if health.interrupted:
        yield finding("inconclusive", "interrupted", "the run was interrupted")
    if health.fell_behind:
        yield finding(
            "invalid",
            "generator-fell-behind",
            f"the load generator fell behind its own schedule (requests left {health.lag_p99_ms:.0f} ms "
            "late at the 99th percentile): the offered load is not the one that was asked for",
        )
    elif health.sent_share < limits.sent_share_min and not health.interrupted:
        yield finding(
            "invalid",
            "sent-too-little",
            f"the load generator sent only {health.sent_share:.0%} of the planned requests "
            f"(at least {limits.sent_share_min:.0%})",
        )
    if run.hp.errors > limits.failed_requests_max:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(health.failed_by_kind.items()))
        yield finding(
            "fail" if run.scenario not in (BASELINE, CONTENTION) else "invalid",
            "requests-failed",
            f"{run.hp.errors} of {run.hp.requests} high-priority requests failed ({kinds})",
        )
    if health.completed < limits.completed_min:
        yield finding(
            "inconclusive",
            "too-few-requests",
            f"only {health.completed} requests completed; a p95 needs at least {limits.completed_min}",
        )
    if health.sampled_share < limits.sampled_share_min:
        yield finding(
            "invalid", "not-sampled", f"samples cover only {health.sampled_share:.0%} of the measured window"
        )
    if health.hp_restarts:
        yield finding("invalid", "hp-restarted", f"the service restarted {health.hp_restarts} time(s)")
    yield from _cpu_faults(run, study, limits)
    if run.scenario == BASELINE:
        yield from _baseline_faults(run, limits)
    else:
        yield from _lp_faults(run, limits)
    if run.scenario == DRCIO:
        yield from _control_faults(run, limits)


def _cpu_faults(run: RunResult, study: Study, limits: Thresholds) -> Iterator[_Finding]:
    label, health = f"{run.scenario} r{run.repeat}", run.health
    alone = _cpu_wait_alone(study.scenarios.get(BASELINE))
    if health.hp_throttled_share > limits.hp_throttled_share_max:
        yield _Finding(
            "invalid",
            "hp-cpu-throttled",
            label,
            f"the service was held back by its own CPU limit for {health.hp_throttled_share:.0%} "
            f"of the time (at most {limits.hp_throttled_share_max:.0%})",
        )
    if health.hp_cpu_wait_share > limits.hp_cpu_wait_share_max:
        yield _Finding(
            "invalid",
            "hp-cpu-starved",
            label,
            f"the service waited for a CPU {health.hp_cpu_wait_share:.0%} of the time "
            f"(at most {limits.hp_cpu_wait_share_max:.0%}): its latency is not the volume's",
        )
    elif alone is not None and health.hp_cpu_wait_share - alone > limits.hp_cpu_wait_excess_max:
        yield _Finding(
            "invalid",
            "hp-cpu-starved",
            label,
            f"the service waited for a CPU {health.hp_cpu_wait_share:.0%} of the time, alone only "
            f"{alone:.0%}: the batch job took its CPU, not only its volume",
        )


def _cpu_wait_alone(baseline: ScenarioResult | None) -> float | None:
    return min((run.health.hp_cpu_wait_share for run in baseline.runs), default=None) if baseline else None


def _baseline_faults(run: RunResult, limits: Thresholds) -> Iterator[_Finding]:
    label, health = f"{run.scenario} r{run.repeat}", run.health
    if health.lp_volume_share > limits.baseline_lp_volume_share_max:
        yield _Finding(
            "invalid",
            "baseline-not-alone",
            label,
            f"the batch job moved {run.lp.mib_s:.1f} MiB/s in a run in which the service should be alone",
        )
    if run.hp.achieved_rps < limits.achieved_share_min * run.hp.offered_rps and not health.interrupted:
        yield _Finding(
            "invalid",
            "hp-overloaded-alone",
            label,
            f"the service completed {run.hp.achieved_rps:.1f} of {run.hp.offered_rps:.1f} offered "
            "requests/s even alone: it is overloaded by itself",
        )


def _lp_faults(run: RunResult, limits: Thresholds) -> Iterator[_Finding]:
    """Find out whether the batch job competed at all.

    How *much* it moved under a policy is that policy's doing, so it is asked of contention only.
    """
    label, health = f"{run.scenario} r{run.repeat}", run.health
    if not health.lp_present:
        yield _Finding(
            "invalid", "lp-absent", label, "no low-priority pod ran: there was nothing to compete with"
        )
        return
    if health.lp_shared_share is None:
        yield _Finding("invalid", "lp-idle", label, "the low-priority pod did no I/O")
        return
    if health.lp_shared_share < limits.lp_shared_share_min:
        yield _Finding(
            "invalid",
            "lp-other-device",
            label,
            f"{_only(health.lp_shared_share)} of the low-priority I/O went to the service's device "
            f"(at least {limits.lp_shared_share_min:.0%}): they did not compete for one volume",
        )
    if health.lp_restarts:
        yield _Finding(
            "invalid", "lp-restarted", label, f"the batch job restarted {health.lp_restarts} time(s)"
        )
    if health.lp_active_share < limits.lp_active_share_min:
        yield _Finding(
            "invalid",
            "lp-inactive",
            label,
            f"the batch job did I/O in only {health.lp_active_share:.0%} of the measured window "
            f"(at least {limits.lp_active_share_min:.0%})",
        )
    if run.scenario == CONTENTION and health.lp_volume_share < limits.lp_volume_share_min:
        yield _Finding(
            "invalid",
            "lp-too-light",
            label,
            f"the batch job used {health.lp_volume_share:.0%} of the volume "
            f"({run.lp.mib_s:.1f} MiB/s, {run.lp.ops_s:.0f} I/Os a second; "
            f"at least {limits.lp_volume_share_min:.0%}): that is no contention",
        )


def _control_faults(run: RunResult, limits: Thresholds) -> Iterator[_Finding]:
    """Find out whether the controller ran and whether what it set could act."""
    label, health = f"{run.scenario} r{run.repeat}", run.health
    if health.controller_share < limits.controller_share_min:
        yield _Finding(
            "invalid",
            "controller-absent",
            label,
            f"the controller answered in only {health.controller_share:.0%} of the samples "
            f"(at least {limits.controller_share_min:.0%}): this is not a run with DRC-IO",
        )
    elif health.engine == "none":
        yield _Finding(
            "fail",
            "control-inert",
            label,
            "nothing that the controller set could act: neither iocost nor BFQ was on for the service's "
            "device, and the batch job had no limit",
        )
    elif health.controller_inert_share > limits.controller_inert_share_max:
        yield _Finding(
            "fail",
            "control-inert",
            label,
            f"the controller itself called the service's weight inert in {health.controller_inert_share:.0%} "
            "of its answers",
        )
    elif health.engine != "iomax" and not _favoured(health.hp_weight, health.lp_weight):
        yield _Finding(
            "fail",
            "weights-do-not-favour-hp",
            label,
            f"the service's weight is {health.hp_weight}, the batch job's {health.lp_weight}: "
            "the weights do not put the service first",
        )


def _only(share: float) -> str:
    return "none" if share < 0.005 else f"only {share:.0%}"


def _favoured(hp_weight: int | None, lp_weight: int | None) -> bool:
    return hp_weight is not None and lp_weight is not None and hp_weight > lp_weight


def _study_faults(study: Study, limits: Thresholds) -> Iterator[Reason]:
    """Find what only shows when the runs are set side by side."""
    present = [name for name in SCENARIOS if name in study.scenarios]
    if not present:
        yield Reason(outcome="inconclusive", code="no-runs", statement="no run was completed")
    elif len(present) == 1:
        yield Reason(
            outcome="inconclusive",
            code="scenarios-missing",
            statement=f"only {present[0]} was run: there is nothing to compare it with",
        )
    elif len(present) < len(SCENARIOS):
        missing = " and ".join(name for name in SCENARIOS if name not in present)
        yield Reason(
            outcome="inconclusive",
            code="scenarios-missing",
            statement=f"{missing} was not run: the comparison is incomplete",
        )
    planned, done = len(plan_runs(study.spec)), len(study.runs)
    if present and done < planned:
        yield Reason(
            outcome="inconclusive",
            code="runs-missing",
            statement=f"only {done} of {planned} planned runs exist",
        )
    if len(study.load_rates_rps) > 1:
        rates = ", ".join(f"{rate:g}" for rate in study.load_rates_rps)
        yield Reason(
            outcome="invalid",
            code="different-loads",
            statement=f"the runs were given different loads ({rates} requests/s)",
        )
    if study.environment_conflicts:
        yield Reason(
            outcome="invalid",
            code="different-environments",
            statement=f"the records are not of one experiment ({'; '.join(study.environment_conflicts)})",
        )
    yield from _unstable_baseline(study.scenarios.get(BASELINE), limits)
    yield from _not_the_disk(study, limits)


def _unstable_baseline(baseline: ScenarioResult | None, limits: Thresholds) -> Iterator[Reason]:
    spread = baseline.hp_spread.get("p95_ms") if baseline else None
    if spread is None or not spread.min or spread.max <= limits.baseline_p95_spread_max * spread.min:
        return
    yield Reason(
        outcome="inconclusive",
        code="baseline-unstable",
        statement=f"the service's p95 alone varied from {spread.min:.0f} to {spread.max:.0f} ms between runs "
        f"(at most a factor of {limits.baseline_p95_spread_max:g}): the machine is too unsteady to judge",
    )


def _not_the_disk(study: Study, limits: Thresholds) -> Iterator[Reason]:
    """Refuse contention that slowed the requests, but not their reads from the volume."""
    whole, fetch = study.comparison.contention_p95_ratio, study.comparison.contention_fetch_p95_ratio
    if whole is None or fetch is None or limits.drcio_fetch_p95_ratio_max is None:
        return
    if whole >= limits.contention_p95_ratio_min and fetch < limits.contention_fetch_p95_ratio_min:
        yield Reason(
            outcome="invalid",
            code="slow-but-not-by-the-disk",
            statement=f"under contention requests took {whole:.1f}x as long, but their disk fetch only "
            f"{fetch:.1f}x: something other than the volume slowed them",
        )


def _tell_once(findings: Iterable[_Finding]) -> Iterator[Reason]:
    """Tell a fault that several runs share once, with the runs named."""
    by_code: dict[tuple[Badness, str], list[_Finding]] = {}
    for finding in findings:
        by_code.setdefault((finding.outcome, finding.code), []).append(finding)
    for (outcome, code), shared in by_code.items():
        yield Reason(
            outcome=outcome,
            code=code,
            statement=shared[0].text,
            runs=tuple(finding.run for finding in shared),
        )
