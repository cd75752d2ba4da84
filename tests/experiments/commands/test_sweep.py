"""One kind of batch job after another: which runs are made, and where their records end up."""

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from experiments.commands.sweep import DEFAULT_BATCHES, Batch, parse_batches, print_sweep, runs_of, sweep
from experiments.errors import SpecError
from experiments.judgement.reasons import Reason
from experiments.judgement.results import results_json, write_results
from experiments.judgement.study import study
from experiments.judgement.testing import behaviour_of
from experiments.judgement.verdict import judge
from experiments.records.record import RunRecord, read_runs
from experiments.records.spec import PlannedRun, Spec
from experiments.report import read_spec
from experiments.targets import Progress
from tests.experiments.build import build_run, build_spec

BATCHES = (Batch("random-read", 4), Batch("sequential-write", 1024))


class Shown:
    """Keeps the runs that begin."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def doing(self, what: str) -> None: ...

    def within_run(self, elapsed_s: float, total_s: float) -> None: ...

    def run(self, planned: PlannedRun, record: RunRecord | None) -> None:
        if record is None:
            self.begun.append(f"{planned.order} {planned.scenario.name}")

    def more(self, why: Reason, runs: int) -> None: ...


class Recorded:
    """A target that makes built records, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self._spec = build_spec()

    def of(self, spec: Spec) -> "Recorded":
        self._spec = spec
        return self

    def run(self, planned: PlannedRun, progress: Progress) -> RunRecord:
        self.asked.append((self._spec.lp_pattern, planned.scenario.name))
        return build_run(self._spec, planned, behaviour_of(planned.scenario))


def swept(output: Path, *, repeats: int = 2) -> tuple[Recorded, list[str]]:
    spec, target, shown = build_spec(repeats=repeats), Recorded(), Shown()
    sweep(spec, BATCHES, target.of, output, shown)
    assert len(shown.begun) == runs_of(spec, BATCHES)
    return target, shown.begun


def test_service_alone_is_measured_once_a_repeat(tmp_path: Path) -> None:
    target, shown = swept(tmp_path)
    assert sum(scenario == "baseline" for _, scenario in target.asked) == 2
    assert sum(scenario == "drcio" for _, scenario in target.asked) == 4
    assert [int(line.split()[0]) for line in shown] == list(range(1, 11))


def test_each_batch_job_has_an_experiment_of_its_own(tmp_path: Path) -> None:
    swept(tmp_path)
    for batch in BATCHES:
        folder = tmp_path / batch.name
        assert read_spec(folder).lp_pattern == batch.pattern
        assert read_spec(folder).lp_block_bytes == batch.block_kib << 10
        runs = read_runs(folder)
        assert [run.order for run in runs] == [1, 2, 3, 4, 5, 6]
        assert {run.scenario for run in runs} == {"baseline", "contention", "drcio"}


def test_table_has_a_line_for_each(tmp_path: Path) -> None:
    swept(tmp_path)
    for batch in BATCHES:
        # What build_report does, without the pictures, which is what takes time.
        judged = study(read_runs(tmp_path / batch.name), read_spec(tmp_path / batch.name))
        write_results(tmp_path / batch.name, results_json(judged, judge(judged)))
    console = Console(record=True, width=80)
    print_sweep(console, tmp_path, BATCHES)
    text = console.export_text()
    for batch in BATCHES:
        (line,) = [line for line in text.splitlines() if line.startswith(batch.name)]
        assert line.rstrip().endswith("pass")


def test_default_is_every_pattern_but_the_usual_one() -> None:
    assert {batch.pattern for batch in parse_batches(DEFAULT_BATCHES)} | {"mixed"} == {
        "sequential-read", "sequential-write", "random-read", "random-write", "mixed", "buffered-write-fsync",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "random-read", "random-read:", "random-read:0", "nothing:4", "mixed:4,mixed:4", "mixed:4k"]
)
def test_bad_batch_jobs_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="batch job"):
        parse_batches(text)


def test_specification_changes_in_the_batch_job_only() -> None:
    spec = build_spec()
    changed = Batch("random-read", 4).applied_to(spec)
    assert replace(changed, lp_pattern=spec.lp_pattern, lp_block_bytes=spec.lp_block_bytes) == spec
