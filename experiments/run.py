"""Carry a specification out on a target: run after run, each stored at once, then judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.reasons import Reason
from experiments.record import RunRecord, write_run
from experiments.spec import PlannedRun, Spec, plan_repeat, plan_runs
from experiments.study import study
from experiments.targets import Progress, Target
from experiments.verdict import judge, unsettled_by


def plan_and_run(
    spec: Spec,
    make: Callable[[PlannedRun], RunRecord],
    *,
    on_more: Callable[[Reason, int], None] = lambda _why, _runs: None,
) -> Iterator[RunRecord]:
    """Yield the record of every planned run, and of further repeats where only the CPU keeps these open.

    Up to `spec.more_repeats` are added, one at a time, laid out as a specification of so many repeats
    would lay them out: the plan does not depend on what was measured, only where it ends.
    """
    records: list[RunRecord] = []
    for planned in plan_runs(spec):
        records.append(make(planned))
        yield records[-1]
    for repeat in range(spec.repeats + 1, spec.repeats + spec.more_repeats + 1):
        why = unsettled_by(judge(study(records, spec)))
        if why is None:
            return
        runs = plan_repeat(spec, repeat)
        on_more(why, len(runs))
        for planned in runs:
            records.append(make(planned))
            yield records[-1]


def run_all(
    spec: Spec,
    target: Target,
    output: Path,
    progress: Progress,
    *,
    on_run: Callable[[PlannedRun, RunRecord | None], None] = lambda _planned, _record: None,
    on_more: Callable[[Reason, int], None] = lambda _why, _runs: None,
) -> list[RunRecord]:
    """Make every run and store its record before the next one starts.

    `on_run` is called with None before a run and with its record after it, `on_more` with the reason for
    a further repeat and its number of runs. What was stored stays when a later run fails or is interrupted.
    """

    def make(planned: PlannedRun) -> RunRecord:
        on_run(planned, None)
        record = target.run(planned, progress)
        write_run(output, record)
        on_run(planned, record)
        return record

    return list(plan_and_run(spec, make, on_more=on_more))
