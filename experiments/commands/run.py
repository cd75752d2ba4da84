"""Carry a specification out on its targets: run after run, each stored at once, then judged."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from experiments.judgement.reasons import Reason
from experiments.judgement.study import study
from experiments.judgement.verdict import judge, unsettled_by
from experiments.records.record import RunRecord, write_run
from experiments.records.spec import PlannedRun, Spec, plan_repeat, plan_runs
from experiments.targets import Progress, Target


class Lane(Progress, Protocol):
    """Shows what a target does, and is told of its runs."""

    def run(self, planned: PlannedRun, record: RunRecord | None) -> None:
        """Note that a run begins (no record yet), or has ended with this record."""

    def more(self, why: Reason, runs: int) -> None:
        """Note that a further repeat of so many runs is made, and why."""


def plan_and_run(
    spec: Spec,
    make: Callable[[Sequence[PlannedRun]], Sequence[RunRecord]],
    *,
    on_more: Callable[[Reason, int], None] = lambda _why, _runs: None,
) -> list[RunRecord]:
    """Make every planned run, and further repeats where only the CPU keeps these open.

    Up to `spec.more_repeats` are added, one at a time, laid out as a specification of so many repeats
    would lay them out: the plan does not depend on what was measured, only where it ends.
    """
    records = list(make(plan_runs(spec)))
    for repeat in range(spec.repeats + 1, spec.repeats + spec.more_repeats + 1):
        why = unsettled_by(judge(study(records, spec)))
        if why is None:
            break
        runs = plan_repeat(spec, repeat)
        on_more(why, len(runs))
        records += make(runs)
    return records


def run_all(spec: Spec, target: Target, output: Path, lane: Lane) -> list[RunRecord]:
    """Make every run and store its record before the next one starts.

    What was stored stays when a later run fails or is interrupted.
    """
    return plan_and_run(
        spec, lambda planned: [_make(run, target, output, lane) for run in planned], on_more=lane.more
    )


def run_side_by_side(
    planned: Sequence[PlannedRun], targets: Sequence[Target], lanes: Sequence[Lane], output: Path
) -> list[RunRecord]:
    """Make planned runs on several targets at once, each taking the next run that is left.

    Only for targets that do not disturb each other's figures: nodes with a clock of their own.
    Raises what the first run that fails raises; the others' threads end with their targets.
    """
    left = deque(planned)
    records: list[RunRecord] = []
    failures: list[BaseException] = []
    changed = threading.Condition()
    working = len(targets)

    def work(target: Target, lane: Lane) -> None:
        nonlocal working
        try:
            while (next_one := _taken(left)) is not None and not failures:
                records.append(_make(next_one, target, output, lane))
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits for it
            failures.append(error)
        finally:
            with changed:
                working -= 1
                changed.notify()

    for pair in zip(targets, lanes, strict=False):
        threading.Thread(target=work, args=pair, name="lane", daemon=True).start()
    with changed:
        changed.wait_for(lambda: bool(failures) or not working)
    if failures:
        raise failures[0]
    return sorted(records, key=lambda record: record.order)


def _taken(left: deque[PlannedRun]) -> PlannedRun | None:
    try:
        return left.popleft()
    except IndexError:
        return None


def _make(planned: PlannedRun, target: Target, output: Path, lane: Lane) -> RunRecord:
    lane.run(planned, None)
    record = target.run(planned, lane)
    write_run(output, record)
    lane.run(planned, record)
    return record
