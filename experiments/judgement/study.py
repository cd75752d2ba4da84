"""Conclude figures from raw records; a pure function of what was recorded.

Every figure of a scenario is the median over its runs: the sample is a run, not a request.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Final

from drcio_controller.ebs import Volume
from experiments.judgement import series
from experiments.judgement.cpu import cpu_of
from experiments.judgement.figures import (
    MIB,
    Comparison,
    Figure,
    HpFigures,
    LpFigures,
    Paired,
    RunResult,
    ScenarioResult,
    Spread,
    Study,
    fetch_p95_ms,
    lp_mib_s,
    median,
    over,
    p95_ms,
)
from experiments.judgement.health import health_of
from experiments.judgement.protection import FETCH, Protection, protection
from experiments.records.jsonfields import JsonValue
from experiments.records.record import RunRecord
from experiments.records.spec import BASELINE, CONTENTION, DRCIO, Spec


def study(records: Sequence[RunRecord], spec: Spec) -> Study:
    """Work out all figures of one experiment from its records."""
    baselines = {record.repeat: record for record in records if record.scenario == BASELINE}
    order = [arm.name for arm in spec.scenarios]
    names = sorted(
        {record.scenario for record in records},
        key=lambda name: (order.index(name) if name in order else len(order), name),
    )
    results = {
        name: _scenario_result(
            name,
            [
                study_run(record, spec.volume, baselines.get(record.repeat))
                for record in sorted(records, key=lambda record: record.order)
                if record.scenario == name
            ],
        )
        for name in names
    }
    return Study(
        spec=spec,
        environment=records[0].environment if records else {},
        environment_conflicts=_conflicts(records),
        scenarios=results,
        comparison=compare_scenarios(results),
        load_rates_rps=tuple(sorted({_planned_rate(record) for record in records})),
    )


def study_run(record: RunRecord, volume: Volume, baseline: RunRecord | None = None) -> RunResult:
    """Work out the figures of one run."""
    load = record.load
    fetch = load.timings.get(FETCH)
    hp = HpFigures(
        p50_ms=load.latency.p50_ms,
        p95_ms=load.latency.p95_ms,
        p99_ms=load.latency.p99_ms,
        max_ms=load.latency.max_ms,
        fetch_p50_ms=fetch.p50_ms if fetch else None,
        fetch_p95_ms=fetch.p95_ms if fetch else None,
        fetch_p99_ms=fetch.p99_ms if fetch else None,
        offered_rps=load.offered_rps,
        achieved_rps=load.achieved_rps,
        requests=load.sent,
        errors=load.failed,
    )
    moved = series.growth_in_run(record, series.pods_counter(record.pods_of("lp"), series.pod_bytes))
    operations = series.growth_in_run(
        record, series.pods_counter(record.pods_of("lp"), series.pod_operations)
    )
    lp = LpFigures(mib_s=moved.per_s / MIB, ops_s=operations.per_s, operations=round(operations.delta))
    return RunResult(
        scenario=record.scenario,
        policy=record.policy,
        repeat=record.repeat,
        order=record.order,
        hp=hp,
        lp=lp,
        health=health_of(record, volume, moved, lp),
        cpu=cpu_of(record),
        protection=(
            protection(load, baseline.load, duration_s=record.duration_s) if baseline is not None else None
        ),
    )


def compare_scenarios(results: Mapping[str, ScenarioResult]) -> Comparison:
    """Set contention and drcio against baseline, and drcio's batch job against contention's."""
    base, contention, drcio = (results.get(name) for name in (BASELINE, CONTENTION, DRCIO))
    ratios = {
        "contention_p95_ratio": (contention, base, p95_ms),
        "drcio_p95_ratio": (drcio, base, p95_ms),
        "contention_fetch_p95_ratio": (contention, base, fetch_p95_ms),
        "drcio_fetch_p95_ratio": (drcio, base, fetch_p95_ms),
        "work_conservation": (drcio, contention, lp_mib_s),
    }
    return Comparison(
        **{name: ratio_of(*sides) for name, sides in ratios.items()},
        isolation=_protection_median(drcio, lambda p: p.isolation),
        isolation_01=_protection_median(drcio, lambda p: p.isolation_01),
        lat_imp=_protection_median(drcio, lambda p: p.lat_imp),
        fetch_lat_imp=_protection_median(drcio, lambda p: p.fetch_lat_imp),
        contention_isolation=_protection_median(contention, lambda p: p.isolation),
        contention_lat_imp=_protection_median(contention, lambda p: p.lat_imp),
        paired=paired_ratios(ratios),
    )


Sides = tuple[ScenarioResult | None, ScenarioResult | None, Figure]
"""Whose figure is divided by whose, and which."""


def ratio_of(
    numerator: ScenarioResult | None, denominator: ScenarioResult | None, figure: Figure
) -> float | None:
    """Divide one scenario's median by another's; None where either is missing or zero divides."""
    if numerator is None or denominator is None:
        return None
    return over(figure(numerator), figure(denominator))


def pair_ratios(
    numerator: ScenarioResult | None, denominator: ScenarioResult | None, figure: Figure
) -> Paired | None:
    """Divide run by run within each repeat that has both."""
    if numerator is None or denominator is None:
        return None
    below = {run.repeat: figure(run) for run in denominator.runs}
    ratios = [
        ratio for run in numerator.runs if (ratio := over(figure(run), below.get(run.repeat))) is not None
    ]
    if not ratios:
        return None
    return Paired(median=statistics.median(ratios), min=min(ratios), max=max(ratios), ratios=tuple(ratios))


def paired_ratios(ratios: Mapping[str, Sides]) -> dict[str, Paired]:
    """Divide run by run, ratio by ratio; what no repeat has both sides of is left out."""
    return {name: paired for name, sides in ratios.items() if (paired := pair_ratios(*sides)) is not None}


def spread_of(values: Sequence[float]) -> Spread:
    """Describe how far values lie apart; at least one is needed."""
    middle = statistics.median(values)
    return Spread(
        min=min(values), max=max(values), mad=statistics.median([abs(value - middle) for value in values])
    )


def _scenario_result(name: str, runs: Sequence[RunResult]) -> ScenarioResult:
    hp, lp = [run.hp for run in runs], [run.lp for run in runs]
    hp_values = {
        spec.name: [value for figures in hp if (value := getattr(figures, spec.name)) is not None]
        for spec in fields(HpFigures)
    }
    medians = {name: median(values) for name, values in hp_values.items()}
    return ScenarioResult(
        name=name,
        policy=runs[0].policy,
        hp=HpFigures(**medians | {name: sum(hp_values[name]) for name in ("requests", "errors")}),
        lp=LpFigures(
            mib_s=statistics.median(figures.mib_s for figures in lp),
            ops_s=statistics.median(figures.ops_s for figures in lp),
            operations=round(statistics.median(figures.operations for figures in lp)),
        ),
        hp_spread={name: spread_of(values) for name, values in hp_values.items() if values},
        lp_spread={
            "mib_s": spread_of([figures.mib_s for figures in lp]),
            "ops_s": spread_of([figures.ops_s for figures in lp]),
        },
        runs=tuple(runs),
    )


def _protection_median(
    result: ScenarioResult | None, read: Callable[[Protection], float | None]
) -> float | None:
    if result is None:
        return None
    return median([read(run.protection) for run in result.runs if run.protection is not None])


_ONE_EXPERIMENT: Final = ("commit", "kernel", "target", "accelerator", "clock", "volume", "read_path")


def _conflicts(records: Sequence[RunRecord]) -> tuple[str, ...]:
    conflicts = []
    for key in _ONE_EXPERIMENT:
        found: list[JsonValue] = []
        for record in records:
            value = record.environment.get(key)
            if value not in found:
                found.append(value)
        if len(found) > 1:
            conflicts.append(f"{key}: {', '.join(str(value) for value in found)}")
    return tuple(conflicts)


def _planned_rate(record: RunRecord) -> float:
    rate = record.load.plan.get("rate_rps")
    return float(rate) if isinstance(rate, int | float) else record.load.offered_rps
