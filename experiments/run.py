"""Carry a specification out on a target: run after run, each stored at once, then judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from experiments.record import RunRecord, write_run
from experiments.spec import PlannedRun, Spec, plan_runs
from experiments.targets import Progress, Target


def run_all(
    spec: Spec,
    target: Target,
    output: Path,
    progress: Progress,
    *,
    on_run: Callable[[PlannedRun, RunRecord | None], None] = lambda _planned, _record: None,
) -> list[RunRecord]:
    """Make every planned run and store its record before the next one starts.

    `on_run` is called with None before a run and with its record after it. What was stored stays
    when a later run fails or is interrupted.
    """
    records = []
    for planned in plan_runs(spec):
        on_run(planned, None)
        record = target.run(planned, progress)
        write_run(output, record)
        on_run(planned, record)
        records.append(record)
    return records
