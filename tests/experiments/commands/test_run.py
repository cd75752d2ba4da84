"""How planned runs are shared out among targets, and what is kept of them."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.commands.run import run_side_by_side
from experiments.errors import ExperimentError
from experiments.judgement.reasons import Reason
from experiments.judgement.testing import behaviour_of
from experiments.records.record import Cost, RunRecord, read_runs
from experiments.records.spec import PlannedRun, plan_runs
from experiments.targets import Progress
from tests.experiments.build import build_run, build_spec

SPEC = build_spec(repeats=2)


class Silent:
    def doing(self, what: str) -> None: ...

    def within_run(self, elapsed_s: float, total_s: float) -> None: ...

    def run(self, planned: PlannedRun, record: RunRecord | None) -> None: ...

    def more(self, why: Reason, runs: int) -> None: ...


class Built:
    """A target that makes built records; waits for its neighbour before the first, so that both work."""

    def __init__(self, meeting: threading.Barrier | None = None, *, fails_at: int = 0) -> None:
        self.made: list[int] = []
        self._meeting = meeting
        self._fails_at = fails_at

    def run(self, planned: PlannedRun, progress: Progress) -> RunRecord:
        if self._meeting is not None and not self.made:
            self._meeting.wait(10)
        if planned.order == self._fails_at:
            raise ExperimentError("the guest stopped")
        self.made.append(planned.order)
        record = build_run(SPEC, planned, behaviour_of(planned.scenario))
        return replace(record, cost=Cost(guest_s=25.0, host_s=100.0))


def test_every_run_is_made_once_and_both_targets_work(tmp_path: Path) -> None:
    meeting = threading.Barrier(2)
    one, other = Built(meeting), Built(meeting)
    records = run_side_by_side(plan_runs(SPEC), [one, other], [Silent(), Silent()], tmp_path)
    planned = [run.order for run in plan_runs(SPEC)]
    assert sorted(one.made + other.made) == planned
    assert one.made
    assert other.made
    assert [record.order for record in records] == planned
    assert [record.cost for record in read_runs(tmp_path)] == [Cost(guest_s=25.0, host_s=100.0)] * len(
        planned
    )


def test_what_one_target_raises_ends_the_experiment_and_keeps_what_was_stored(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="the guest stopped"):
        run_side_by_side(plan_runs(SPEC), [Built(fails_at=3)], [Silent()], tmp_path)
    assert [record.order for record in read_runs(tmp_path)] == [1, 2]
