"""Find what keeps runs, or the experiment that they make up, from being judged or from passing.

Every fault is a pure statement about a study; what it does to the verdict is its outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from experiments.judgement.cpu import QUIET_REMEDY, cpu_faults, lost_share
from experiments.judgement.figures import RunResult, ScenarioResult, Study
from experiments.judgement.reasons import Badness, Reason
from experiments.judgement.thresholds import Thresholds
from experiments.records.spec import BASELINE, CONTENTION, DRCIO, SCENARIOS, plan_runs

_Finding = tuple[Badness, str, str]
"""A fault of one run, before the same fault of several runs becomes one reason: outcome, code, text."""


def faults_of_runs(study: Study, limits: Thresholds, of: Callable[[RunResult], bool]) -> Iterator[Reason]:
    """Find the faults of the chosen runs; a fault that several of them share is one reason."""
    found: dict[tuple[Badness, str], list[tuple[str, str]]] = {}
    for run in filter(of, study.runs):
        for outcome, code, text in _run_faults(run, study, limits):
            found.setdefault((outcome, code), []).append((f"{run.scenario} r{run.repeat}", text))
    for (outcome, code), shared in found.items():
        names = tuple(name for name, _ in shared)
        yield Reason(outcome=outcome, code=code, statement=shared[0][1], runs=names)


def _run_faults(run: RunResult, study: Study, limits: Thresholds) -> Iterator[_Finding]:
    """Find what makes one run unfit to be judged, or, under DRC-IO, what DRC-IO did wrong."""
    health = run.health
    if health.interrupted:
        yield ("inconclusive", "interrupted", "the run was interrupted")
    if health.fell_behind:
        yield (
            "invalid",
            "generator-fell-behind",
            f"the load generator fell behind its own schedule (requests left {health.lag_p99_ms:.0f} ms "
            "late at the 99th percentile): the offered load is not the one that was asked for",
        )
    elif health.sent_share < limits.sent_share_min and not health.interrupted:
        yield (
            "invalid",
            "sent-too-little",
            f"the load generator sent only {health.sent_share:.0%} of the planned requests "
            f"(at least {limits.sent_share_min:.0%})",
        )
    if run.hp.errors > limits.failed_requests_max:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(health.failed_by_kind.items()))
        yield (
            "fail" if run.scenario not in (BASELINE, CONTENTION) else "invalid",
            "requests-failed",
            f"{run.hp.errors} of {run.hp.requests} high-priority requests failed ({kinds})",
        )
    if health.completed < limits.completed_min:
        yield (
            "inconclusive",
            "too-few-requests",
            f"only {health.completed} requests completed; a p95 needs at least {limits.completed_min}",
        )
    if health.sampled_share < limits.sampled_share_min:
        yield (
            "invalid",
            "not-sampled",
            f"samples cover only {health.sampled_share:.0%} of the measured window",
        )
    if not health.hp_moved_bytes and health.sampled_share:
        yield (
            "invalid",
            "hp-idle-on-volume",
            "the service moved no byte from or to the volume: there is no I/O of its to protect",
        )
    if health.hp_restarts:
        yield ("invalid", "hp-restarted", f"the service restarted {health.hp_restarts} time(s)")
    yield from _cpu_faults(run, study, limits)
    if run.scenario == BASELINE:
        yield from _baseline_faults(run, limits)
    else:
        yield from _lp_faults(run, limits)
    if run.scenario == DRCIO:
        yield from _control_faults(run, limits)


def _cpu_faults(run: RunResult, study: Study, limits: Thresholds) -> Iterator[_Finding]:
    health = run.health
    alone = _cpu_wait_alone(study.scenarios.get(BASELINE))
    if health.hp_throttled_share > limits.hp_throttled_share_max:
        yield (
            "invalid",
            "hp-cpu-throttled",
            f"the service was held back by its own CPU limit for {health.hp_throttled_share:.0%} "
            f"of the time (at most {limits.hp_throttled_share_max:.0%})",
        )
    if health.hp_cpu_wait_share > limits.hp_cpu_wait_share_max:
        yield (
            "invalid",
            "hp-cpu-starved",
            f"the service waited for a CPU {health.hp_cpu_wait_share:.0%} of the time "
            f"(at most {limits.hp_cpu_wait_share_max:.0%}): its latency is not the volume's",
        )
    elif alone is not None and health.hp_cpu_wait_share - alone > limits.hp_cpu_wait_excess_max:
        yield (
            "invalid",
            "hp-cpu-starved",
            f"the service waited for a CPU {health.hp_cpu_wait_share:.0%} of the time, alone only "
            f"{alone:.0%}: the batch job took its CPU, not only its volume",
        )


def _cpu_wait_alone(baseline: ScenarioResult | None) -> float | None:
    return min((run.health.hp_cpu_wait_share for run in baseline.runs), default=None) if baseline else None


def _baseline_faults(run: RunResult, limits: Thresholds) -> Iterator[_Finding]:
    health = run.health
    if health.lp_volume_share > limits.baseline_lp_volume_share_max:
        yield (
            "invalid",
            "baseline-not-alone",
            f"the batch job moved {run.lp.mib_s:.1f} MiB/s in a run in which the service should be alone",
        )
    if run.hp.achieved_rps < limits.achieved_share_min * run.hp.offered_rps and not health.interrupted:
        yield (
            "invalid",
            "hp-overloaded-alone",
            f"the service completed {run.hp.achieved_rps:.1f} of {run.hp.offered_rps:.1f} offered "
            "requests/s even alone: it is overloaded by itself",
        )


def _lp_faults(run: RunResult, limits: Thresholds) -> Iterator[_Finding]:
    """Find out whether the batch job competed at all.

    How *much* it moved under a policy is that policy's doing, so it is asked of contention only.
    """
    health = run.health
    if not health.lp_present:
        yield ("invalid", "lp-absent", "no low-priority pod ran: there was nothing to compete with")
        return
    if health.lp_shared_share is None:
        yield ("invalid", "lp-idle", "the low-priority pod did no I/O")
        return
    if health.lp_shared_share < limits.lp_shared_share_min:
        yield (
            "invalid",
            "lp-other-device",
            f"{_only(health.lp_shared_share)} of the low-priority I/O went to the service's device "
            f"(at least {limits.lp_shared_share_min:.0%}): they did not compete for one volume",
        )
    if health.lp_restarts:
        yield ("invalid", "lp-restarted", f"the batch job restarted {health.lp_restarts} time(s)")
    if health.lp_active_share < limits.lp_active_share_min:
        yield (
            "invalid",
            "lp-inactive",
            f"the batch job did I/O in only {health.lp_active_share:.0%} of the measured window "
            f"(at least {limits.lp_active_share_min:.0%})",
        )
    if run.scenario == CONTENTION and health.lp_volume_share < limits.lp_volume_share_min:
        yield (
            "invalid",
            "lp-too-light",
            f"the batch job used {health.lp_volume_share:.0%} of the volume "
            f"({run.lp.mib_s:.1f} MiB/s, {run.lp.ops_s:.0f} I/Os a second; "
            f"at least {limits.lp_volume_share_min:.0%}): that is no contention",
        )


def _control_faults(run: RunResult, limits: Thresholds) -> Iterator[_Finding]:
    """Find out whether the controller ran and whether what it set could act."""
    health = run.health
    if health.controller_share < limits.controller_share_min:
        yield (
            "invalid",
            "controller-absent",
            f"the controller answered in only {health.controller_share:.0%} of the samples "
            f"(at least {limits.controller_share_min:.0%}): this is not a run with DRC-IO",
        )
    elif health.engine == "none":
        yield (
            "fail",
            "control-inert",
            "nothing that the controller set could act: neither iocost nor BFQ was on for the service's "
            "device, and the batch job had no limit",
        )
    elif health.controller_inert_share > limits.controller_inert_share_max:
        yield (
            "fail",
            "control-inert",
            f"the controller itself called the service's weight inert in {health.controller_inert_share:.0%} "
            "of its answers",
        )
    elif health.engine != "iomax" and not _favoured(health.hp_weight, health.lp_weight):
        yield (
            "fail",
            "weights-do-not-favour-hp",
            f"the service's weight is {health.hp_weight}, the batch job's {health.lp_weight}: "
            "the weights do not put the service first",
        )


def _only(share: float) -> str:
    return "none" if share < 0.005 else f"only {share:.0%}"


def _favoured(hp_weight: int | None, lp_weight: int | None) -> bool:
    return hp_weight is not None and lp_weight is not None and hp_weight > lp_weight


def faults_of_study(study: Study, limits: Thresholds) -> Iterator[Reason]:
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
            remedy="run all three scenarios, repeated: make demo",
        )
    # A repeat that was added and broken off is as incomplete as one of those asked for.
    begun = replace(study.spec, repeats=study.repeats)
    planned = {(run.scenario.name, run.repeat) for run in plan_runs(begun)}
    undone = planned - {(run.scenario, run.repeat) for run in study.runs}
    if present and undone:
        yield Reason(
            outcome="inconclusive",
            code="runs-missing",
            statement=f"only {len(planned) - len(undone)} of {len(planned)} planned runs exist",
        )
    if len(study.runs) > len({(run.scenario, run.repeat) for run in study.runs}):
        yield Reason(
            outcome="invalid",
            code="runs-doubled",
            statement="a scenario has the same repeat twice: these are records of more than one experiment",
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
    yield from cpu_faults(study, limits)


def _unstable_baseline(baseline: ScenarioResult | None, limits: Thresholds) -> Iterator[Reason]:
    """Hold the baseline's runs against each other, but for those that are known to have been disturbed.

    Leaving these out is no choice by result: what took their CPU was recorded beside them, and where it
    is most of the runs, `cpu_faults` says so.
    """
    runs = baseline.runs if baseline else ()
    known_ms = [
        run.hp.p95_ms
        for run in runs
        if run.hp.p95_ms is not None and lost_share(run.cpu) <= limits.cpu_lost_share_max
    ]
    least_ms, most_ms = min(known_ms, default=0.0), max(known_ms, default=0.0)
    if not least_ms or most_ms <= limits.baseline_p95_spread_max * least_ms:
        return
    yield Reason(
        outcome="inconclusive",
        code="baseline-unstable",
        statement=f"the service's p95 alone varied from {least_ms:.0f} to {most_ms:.0f} ms between runs "
        f"(at most a factor of {limits.baseline_p95_spread_max:g}): the machine is too unsteady to judge",
        remedy=QUIET_REMEDY,
        more_repeats_may_settle=True,
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
