"""Separate what the volume did to an experiment from what the CPUs did to it.

The cause is looked at first: where much of the CPUs' time was taken from outside, nothing follows from
latencies. Then the effect: every promise is held against its limit a second time, by what its figure
may have been without what the CPUs did, and has to come out the same.
docs/explanation/judgement.md gives the reasons and what came of injected faults.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from experiments.judgement import series
from experiments.judgement.figures import (
    CpuFigures,
    Figure,
    RunResult,
    ScenarioResult,
    Study,
    fetch_p95_ms,
    lp_mib_s,
    median,
    over,
    p95_ms,
)
from experiments.judgement.protection import FETCH
from experiments.judgement.reasons import Reason
from experiments.judgement.thresholds import Thresholds
from experiments.records.record import CpuSample, RunRecord
from experiments.records.spec import BASELINE, CONTENTION, DRCIO, SCENARIOS

FULL_IDLE_SHARE: Final = 0.10
"""Fewer idle CPUs than this and the host is full: what others take then is missing elsewhere."""
_LOST_SHARE_MAX: Final = 0.9
"""A run that lost more than this is counted as one that lost this; a share of 1 would divide by zero."""
QUIET_REMEDY: Final = (
    "end what else runs on the machine, or give it --repeats 5: a median bears two disturbed runs of five"
)


def cpu_of(record: RunRecord) -> CpuFigures:
    """Gather what a record holds about the CPUs in its measured window."""
    parts = [timing.p95_ms for name, timing in record.load.timings.items() if name != FETCH]
    known = [part for part in parts if part is not None]
    node = [sample.cpu.at(sample.t_s) for sample in record.samples if sample.cpu is not None]
    lp_pods = record.pods_of("lp")
    # A record made from metrics alone has no cgroup's counters: zeros there are not known.
    read_from_cgroups = any(pod.cpu_usage_us for sample in record.samples for pod in sample.pods.values())
    taken, others = _taken(record)
    return CpuFigures(
        clock=record.clock,
        compute_p95_ms=sum(known) if known else None,
        steal_share=_share_of_cpus(record, node, lambda seen: seen.steal_us),
        taken_share=taken,
        others_share=others,
        load_1m=median([seen.load_1m for seen in record.host or node if 0 <= seen.t_s <= record.duration_s]),
        hp_wait_per_work=_wait_per_work(record) if read_from_cgroups else None,
        lp_wait_share=(
            series.worst_pod_share(record, lp_pods, lambda pod: pod.cpu_pressure.some_us)
            if lp_pods and read_from_cgroups
            else None
        ),
    )


def _wait_per_work(record: RunRecord) -> float | None:
    """Return how long the service waited for a CPU for every second that it had one."""
    pods = record.pods_of("hp")
    waited = series.growth_in_run(record, series.pods_counter(pods, lambda pod: pod.cpu_pressure.some_us))
    worked = series.growth_in_run(record, series.pods_counter(pods, lambda pod: pod.cpu_usage_us))
    return over(waited.delta, worked.delta)


def _share_of_cpus(
    record: RunRecord, seen: Sequence[CpuSample], counter: Callable[[CpuSample], int]
) -> float | None:
    grown = series.growth(seen, counter, start_s=0.0, end_s=record.duration_s)
    return grown.per_s / series.US_PER_S / seen[0].cpus if grown.seconds and seen[0].cpus else None


def _taken(record: RunRecord) -> tuple[float | None, float | None]:
    """Return what other programs took of the host's CPUs: while none was idle, and in all."""
    missed = others = whole = 0.0
    for before, after in itertools.pairwise(record.host):
        if before.own_us is None or after.own_us is None or not 0 <= after.t_s <= record.duration_s:
            continue
        busy, idle = after.busy_us - before.busy_us, after.idle_us - before.idle_us
        steal = after.steal_us - before.steal_us
        total = busy + idle + steal
        if total <= 0:
            continue
        # The kernel books a process's time and a CPU's time at different moments.
        by_others = max(busy - (after.own_us - before.own_us), 0) + steal
        whole += total
        others += by_others
        missed += by_others if idle < FULL_IDLE_SHARE * total else 0
    return (missed / whole, others / whole) if whole else (None, None)


Figures = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WithoutCpu:
    """What the promises' figures may have been without what the CPUs did; empty where that is unknown."""

    contention_p95_ratio: Figures
    drcio_p95_ratio: Figures
    drcio_fetch_p95_ratio: Figures
    work_conservation: Figures


def without_cpu(study: Study) -> WithoutCpu:
    """Take the CPUs' part out of the promises' figures; a scenario's figure is its runs' median, as ever.

    Latencies are taken as if every run had computed equally fast. What the batch job would have moved
    with the CPU that it missed is not known, only that it lies between what it did move and a limit: the
    two figures are one scenario's least over the other's most, and the reverse.
    """
    base, contention, drcio = (study.scenarios.get(name) for name in (BASELINE, CONTENTION, DRCIO))
    slow = _slowness(study)

    def evened(scenario: ScenarioResult | None, figure: Figure) -> float | None:
        return _median_of(scenario, lambda run: over(figure(run), slow.get(run.order)))

    alone_ms = evened(base, p95_ms)
    lp_most = {
        name: _median_of(scenario, lambda run: _lp_most_mib_s(run, slow.get(run.order)))
        for name, scenario in study.scenarios.items()
    }
    return WithoutCpu(
        contention_p95_ratio=_over_all(
            [(_median_of(contention, lambda run: _without_computing(run, slow.get(run.order))), alone_ms)]
        ),
        drcio_p95_ratio=_over_all([(evened(drcio, p95_ms), alone_ms)]),
        drcio_fetch_p95_ratio=_over_all([(evened(drcio, fetch_p95_ms), evened(base, fetch_p95_ms))]),
        work_conservation=_over_all(
            [
                (_median_of(drcio, lp_mib_s), lp_most.get(CONTENTION)),
                (lp_most.get(DRCIO), _median_of(contention, lp_mib_s)),
            ]
        ),
    )


def _slowness(study: Study) -> Mapping[int, float]:
    """Return how many times as long as alone each run computed, by its order.

    The service's own figure of its computing is the best witness, for it is the effect itself. Without it
    the time in which its CPU was wanted and not given stands in.
    """
    runs = [run for run in study.runs if run.scenario in SCENARIOS]
    if runs and all(run.cpu.compute_p95_ms for run in runs):
        slowness = {run.order: run.cpu.compute_p95_ms or 0.0 for run in runs}
    else:
        slowness = {
            run.order: (1 + (run.cpu.hp_wait_per_work or 0.0)) / (1 - lost_share(run.cpu)) for run in runs
        }
    alone = [slowness[run.order] for run in runs if run.scenario == BASELINE]
    if not alone:
        return {}
    usual = statistics.median(alone)
    return {order: value / usual for order, value in slowness.items()}


def lost_share(cpu: CpuFigures) -> float:
    """Return the share of CPU time that was taken from outside.

    In virtual time none is: a guest's clock that counts instructions stands still with its CPUs.
    """
    if cpu.clock == "virtual":
        return 0.0
    return min(max(cpu.steal_share or 0.0, cpu.taken_share or 0.0), _LOST_SHARE_MAX)


def _without_computing(run: RunResult, slow: float | None) -> float | None:
    """Scale all but the fetch: beside an uncontrolled batch job a request is mostly fetch."""
    whole_ms = run.hp.p95_ms
    if whole_ms is None or slow is None:
        return None
    fetch_ms = min(run.hp.fetch_p95_ms or 0.0, whole_ms)
    return fetch_ms + (whole_ms - fetch_ms) / slow


def _lp_most_mib_s(run: RunResult, slow: float | None) -> float | None:
    """Return the most that the batch job may have moved with all the CPU that it wanted.

    That is in proportion to the time that it missed, and never more than the volume's limit.
    """
    waited, seen_from_outside = run.cpu.lp_wait_share, not _causes_unknown(run.cpu)
    if waited is None and slow is None:
        return None
    missed = 1 - (1 - min(waited or 0.0, _LOST_SHARE_MAX)) * (1 - lost_share(run.cpu))
    more = 1 / (1 - min(missed, _LOST_SHARE_MAX))
    if waited is None or not seen_from_outside:
        more = max(more, slow or 1.0)  # what it missed is not known: as much as the service did, perhaps
    moved = run.lp.mib_s
    return max(moved, min(moved * more, over(moved, run.health.lp_volume_share) or moved))


_CAUSES: Final[Mapping[str, Callable[[CpuFigures], float | None]]] = {
    "the machine beneath gave {} of the node's CPU time to somebody else": lambda cpu: cpu.steal_share,
    "other programs took {} of this machine's CPU time while no CPU was idle": lambda cpu: cpu.taken_share,
}


def cpu_faults(study: Study, limits: Thresholds) -> Iterator[Reason]:
    """Find where the CPUs differed between the scenarios, or where that is unknown."""
    scenarios = [study.scenarios[name] for name in SCENARIOS if name in study.scenarios]
    runs = [run for scenario in scenarios for run in scenario.runs]
    if len(scenarios) < len(SCENARIOS):
        return
    for text, read in _CAUSES.items():
        if all(run.cpu.clock == "real" for run in runs):
            yield from _taken_too_much(scenarios, read, text, limits.cpu_lost_share_max)
    if all(_is_unknown(run) for run in runs):
        yield Reason(
            outcome="inconclusive",
            code="cpu-unknown",
            statement="nothing was recorded of the CPUs: whether they or the volume made the difference "
            "cannot be told",
            remedy="let the service report what its computing takes, in a Server-Timing header as hp-service "
            "does",
        )


def _taken_too_much(
    scenarios: Sequence[ScenarioResult], read: Callable[[CpuFigures], float | None], text: str, allowed: float
) -> Iterator[Reason]:
    """Find a cause that took much in any scenario, by its runs' median, which its figures are of too."""
    shares = {scenario.name: _median_of(scenario, lambda run: read(run.cpu)) for scenario in scenarios}
    known = {name: share for name, share in shares.items() if share is not None}
    worst = max(known, key=lambda name: known[name], default=None)
    if worst is None or known[worst] <= allowed:
        return
    others = ", ".join(f"{share:.0%} in {name}" for name, share in known.items() if name != worst)
    yield Reason(
        outcome="inconclusive",
        code="cpu-taken",
        statement=f"{text.format(f'{known[worst]:.0%}')} in {worst}"
        f"{f' ({others})' if others else ''}, where {allowed:.0%} is allowed: what the CPU did cannot be "
        "told from what the volume did",
        remedy=QUIET_REMEDY,
        more_repeats_may_settle=True,
    )


def _is_unknown(run: RunResult) -> bool:
    return run.cpu.compute_p95_ms is None and _causes_unknown(run.cpu)


def _causes_unknown(cpu: CpuFigures) -> bool:
    return cpu.clock == "real" and cpu.steal_share is None and cpu.taken_share is None


def _median_of(scenario: ScenarioResult | None, figure: Callable[[RunResult], float | None]) -> float | None:
    return median([figure(run) for run in scenario.runs]) if scenario is not None else None


def _over_all(pairs: Iterable[tuple[float | None, float | None]]) -> Figures:
    return tuple(ratio for above, below in pairs if (ratio := over(above, below)) is not None)
