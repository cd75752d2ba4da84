"""Conclude figures from raw records; a pure function of what was recorded.

Every figure of a scenario is the median over its runs: the sample is a run, not a request.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal

from experiments import account, series
from experiments.jsonfields import JsonObject, JsonValue
from experiments.protection import FETCH, Protection, protection
from experiments.record import RunRecord, Sample
from experiments.spec import BASELINE, CONTENTION, DRCIO, Spec, Volume

MIB: Final = 1024 * 1024
_US_PER_S: Final = 1e6

Engine = Literal["iocost", "bfq", "iomax", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HpFigures:
    """What the high-priority service's client saw; latencies are nothing where none was measured."""

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
    lp_present: bool
    lp_active_share: float
    """Part of the window in which the batch job moved bytes."""
    lp_volume_share: float
    """The batch job's use of the volume: of its bandwidth or of its IOPS, whichever is more."""
    lp_shared_share: float | None
    """Part of the batch job's bytes that went to a device of the service; nothing if it moved none."""
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
class RunResult:
    """The figures of one run."""

    scenario: str
    policy: str
    repeat: int
    order: int
    hp: HpFigures
    lp: LpFigures
    health: Health
    protection: Protection | None
    """Against the baseline run of the same repeat; nothing where there is none."""


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
    """Scenarios against each other; nothing where a side is missing.

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
    def runs(self) -> tuple[RunResult, ...]:
        every = [run for result in self.scenarios.values() for run in result.runs]
        return tuple(sorted(every, key=lambda run: run.order))


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
    moved = _growth(record, series.pods_counter(record.pods_of("lp"), series.pod_bytes))
    operations = _growth(record, series.pods_counter(record.pods_of("lp"), series.pod_operations))
    lp = LpFigures(mib_s=moved.per_s / MIB, ops_s=operations.per_s, operations=round(operations.delta))
    return RunResult(
        scenario=record.scenario,
        policy=record.policy,
        repeat=record.repeat,
        order=record.order,
        hp=hp,
        lp=lp,
        health=_health(record, volume, moved, lp),
        protection=(
            protection(load, baseline.load, duration_s=record.duration_s) if baseline is not None else None
        ),
    )


def compare_scenarios(results: Mapping[str, ScenarioResult]) -> Comparison:
    """Set contention and drcio against baseline, and drcio's batch job against contention's."""
    base, contention, drcio = (results.get(name) for name in (BASELINE, CONTENTION, DRCIO))

    pairs = {
        "contention_p95_ratio": pair_ratios(contention, base, p95_ms),
        "drcio_p95_ratio": pair_ratios(drcio, base, p95_ms),
        "contention_fetch_p95_ratio": pair_ratios(contention, base, fetch_p95_ms),
        "drcio_fetch_p95_ratio": pair_ratios(drcio, base, fetch_p95_ms),
        "work_conservation": pair_ratios(drcio, contention, lp_mib_s),
    }
    return Comparison(
        contention_p95_ratio=ratio_of(contention, base, p95_ms),
        drcio_p95_ratio=ratio_of(drcio, base, p95_ms),
        contention_fetch_p95_ratio=ratio_of(contention, base, fetch_p95_ms),
        drcio_fetch_p95_ratio=ratio_of(drcio, base, fetch_p95_ms),
        isolation=_protection_median(drcio, lambda p: p.isolation),
        isolation_01=_protection_median(drcio, lambda p: p.isolation_01),
        lat_imp=_protection_median(drcio, lambda p: p.lat_imp),
        fetch_lat_imp=_protection_median(drcio, lambda p: p.fetch_lat_imp),
        contention_isolation=_protection_median(contention, lambda p: p.isolation),
        contention_lat_imp=_protection_median(contention, lambda p: p.lat_imp),
        work_conservation=ratio_of(drcio, contention, lp_mib_s),
        paired={name: paired for name, paired in pairs.items() if paired is not None},
    )


Figure = Callable[[RunResult | ScenarioResult], float | None]


def p95_ms(result: RunResult | ScenarioResult) -> float | None:
    return result.hp.p95_ms


def fetch_p95_ms(result: RunResult | ScenarioResult) -> float | None:
    return result.hp.fetch_p95_ms


def lp_mib_s(result: RunResult | ScenarioResult) -> float | None:
    return result.lp.mib_s


def ratio_of(
    numerator: ScenarioResult | None, denominator: ScenarioResult | None, figure: Figure
) -> float | None:
    """Divide one scenario's median by another's; nothing where either is missing or zero divides."""
    if numerator is None or denominator is None:
        return None
    return _ratio(figure(numerator), figure(denominator))


def pair_ratios(
    numerator: ScenarioResult | None, denominator: ScenarioResult | None, figure: Figure
) -> Paired | None:
    """Divide run by run within each repeat that has both."""
    if numerator is None or denominator is None:
        return None
    below = {run.repeat: figure(run) for run in denominator.runs}
    ratios = [
        ratio for run in numerator.runs if (ratio := _ratio(figure(run), below.get(run.repeat))) is not None
    ]
    if not ratios:
        return None
    return Paired(median=statistics.median(ratios), min=min(ratios), max=max(ratios), ratios=tuple(ratios))


def spread_of(values: Sequence[float]) -> Spread:
    """Describe how far values lie apart; at least one is needed."""
    middle = statistics.median(values)
    return Spread(
        min=min(values), max=max(values), mad=statistics.median([abs(value - middle) for value in values])
    )


def _scenario_result(name: str, runs: Sequence[RunResult]) -> ScenarioResult:
    hp, lp = [run.hp for run in runs], [run.lp for run in runs]
    hp_values = {
        spec.name: _known([getattr(figures, spec.name) for figures in hp]) for spec in fields(HpFigures)
    }
    return ScenarioResult(
        name=name,
        policy=runs[0].policy,
        hp=HpFigures(
            p50_ms=_median(hp_values["p50_ms"]),
            p95_ms=_median(hp_values["p95_ms"]),
            p99_ms=_median(hp_values["p99_ms"]),
            max_ms=_median(hp_values["max_ms"]),
            fetch_p50_ms=_median(hp_values["fetch_p50_ms"]),
            fetch_p95_ms=_median(hp_values["fetch_p95_ms"]),
            fetch_p99_ms=_median(hp_values["fetch_p99_ms"]),
            offered_rps=statistics.median(figures.offered_rps for figures in hp),
            achieved_rps=statistics.median(figures.achieved_rps for figures in hp),
            requests=sum(figures.requests for figures in hp),
            errors=sum(figures.errors for figures in hp),
        ),
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


def _health(record: RunRecord, volume: Volume, moved: series.Growth, lp: LpFigures) -> Health:
    lp_pods, hp_pods = record.pods_of("lp"), record.pods_of("hp")
    window = [sample for sample in record.samples if 0 <= sample.t_s <= record.duration_s]
    hp_devices = record.devices.hp
    shared = _growth(record, series.pods_counter(lp_pods, lambda pod: series.pod_bytes(pod, hp_devices)))
    covered = _growth(record, lambda sample: 0)
    controllers = [sample.controller for sample in window if sample.controller is not None]
    states = Counter(
        state for entry in controllers if (state := account.device_state(entry, hp_devices)) is not None
    )
    inert = sum(account.says_inert(entry, hp_pods, hp_devices) for entry in controllers)
    return Health(
        completed=record.load.completed,
        failed_by_kind={kind: count for kind, count in record.load.errors.items() if count},
        sent_share=record.load.sent / record.load.planned if record.load.planned else 0.0,
        fell_behind=record.load.fell_behind,
        lag_p99_ms=record.load.lag_p99_ms,
        sampled_share=covered.seconds / record.duration_s,
        lp_present=any(name in sample.pods for sample in window for name in lp_pods),
        lp_active_share=moved.active_seconds / record.duration_s,
        lp_volume_share=max(lp.mib_s / volume.mib_s, lp.ops_s / volume.iops),
        lp_shared_share=shared.delta / moved.delta if moved.delta > 0 else None,
        hp_cpu_wait_share=_worst_share(record, hp_pods, lambda sample, pod: sample.pods[pod].cpu_some_us),
        hp_throttled_share=_worst_share(record, hp_pods, lambda sample, pod: sample.pods[pod].throttled_us),
        hp_restarts=sum(record.pods[name].restarts for name in hp_pods),
        lp_restarts=sum(record.pods[name].restarts for name in lp_pods),
        engine=_engine(window, hp_devices, lp_pods),
        hp_weight=_median_weight(window, hp_pods),
        lp_weight=_median_weight(window, lp_pods),
        controller_share=len(controllers) / len(window) if window else 0.0,
        controller_state=states.most_common(1)[0][0] if states else None,
        controller_inert_share=inert / len(controllers) if controllers else 0.0,
        interrupted=record.interrupted,
    )


def _growth(record: RunRecord, counter: series.Counter) -> series.Growth:
    return series.growth(record.samples, counter, start_s=0.0, end_s=record.duration_s)


def _worst_share(record: RunRecord, pods: Sequence[str], read: Callable[[Sample, str], int]) -> float:
    """Return the largest share of the window that a microsecond counter of any of the pods grew by."""

    def counter_of(pod: str) -> series.Counter:
        return lambda sample: read(sample, pod) if pod in sample.pods else None

    return max((_growth(record, counter_of(pod)).per_s / _US_PER_S for pod in pods), default=0.0)


def _engine(window: Sequence[Sample], devices: Sequence[str], lp_pods: Sequence[str]) -> Engine:
    """Name the engine that was in force on the service's device in most samples."""
    seen: Counter[Engine] = Counter(_engine_of(sample, devices, lp_pods) for sample in window)
    for engine, count in seen.items():
        if count * 2 > len(window):
            return engine
    return "none"


def _engine_of(sample: Sample, devices: Sequence[str], lp_pods: Sequence[str]) -> Engine:
    if any(_qos_enabled(line, devices) for line in sample.qos.splitlines()):
        return "iocost"
    if any(_is_bfq(sample.device[device].scheduler) for device in devices if device in sample.device):
        return "bfq"
    if any(sample.io_max.get(pod, "").strip() for pod in lp_pods):
        return "iomax"
    return "none"


def _qos_enabled(line: str, devices: Sequence[str]) -> bool:
    words = line.split()
    return bool(words) and words[0] in devices and "enable=1" in words[1:]


def _is_bfq(scheduler: str) -> bool:
    """Take both a bare name and the kernel's list, which marks the one in use: `none [bfq]`."""
    return scheduler == "bfq" or "[bfq]" in scheduler


def _median_weight(window: Sequence[Sample], pods: Sequence[str]) -> int | None:
    weights = [
        weight
        for sample in window
        for name in pods
        if name in sample.pods and (weight := sample.pods[name].io_weight) is not None
    ]
    return round(statistics.median(weights)) if weights else None


def _protection_median(
    result: ScenarioResult | None, read: Callable[[Protection], float | None]
) -> float | None:
    if result is None:
        return None
    return _median(_known([read(run.protection) for run in result.runs if run.protection is not None]))


_ONE_EXPERIMENT: Final = ("commit", "kernel", "target", "accelerator", "volume", "read_path")


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


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    if numerator is None or not denominator:
        return None
    return numerator / denominator


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
