"""A user's own pods under the scenarios: what is kept of a run, and how it is shown."""

import io
from pathlib import Path
from typing import cast

from rich.console import Console

from experiments.judgement.testing import build_spec
from experiments.records.jsonfields import JsonObject
from experiments.records.record import RUNS_FOLDER
from experiments.records.spec import plan_runs
from experiments.targets.own import keep_results, print_own_runs
from node_twin.kubelet.config import results_of
from node_twin.layout import PODS_FOLDER


def test_what_a_pod_left_is_kept_by_run(tmp_path: Path) -> None:
    first, second = plan_runs(build_spec())[:2]
    for planned in (first, second, first):  # the last as in an output folder that is used again
        left = results_of(tmp_path / PODS_FOLDER, "a")
        left.mkdir(parents=True)
        (left / "fio.json").write_text(planned.file_name)
        results_of(tmp_path / PODS_FOLDER, "silent").mkdir(parents=True, exist_ok=True)
        keep_results(tmp_path, planned, ["a", "silent", "without-a-folder"])
    for planned in (first, second):
        kept = tmp_path / RUNS_FOLDER / Path(planned.file_name).stem
        assert [path.name for path in kept.iterdir()] == ["a"]
        assert (kept / "a" / "fio.json").read_text() == planned.file_name


def test_table_shows_every_column_at_80_columns() -> None:
    account = {"role": "other", "phase": "Succeeded", "read_mib_s": 123.4, "write_mib_s": 123.4}
    account |= {"ops_s": 12345.6, "io_wait_share": 0.123, "io_weight": 1000}
    run = {"scenario": "contention", "repeat": 1, "pods": {"database": account}}
    text = io.StringIO()
    print_own_runs(Console(file=text, width=80), [cast(JsonObject, run)])
    _, head, row = text.getvalue().splitlines()
    assert "weight" in head
    for cell in ("contention 1", "database", "Succeeded", "12345.6", "0.123", "1000"):
        assert cell in row
