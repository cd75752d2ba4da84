"""Own pods' runs on the terminal and from disk."""

import io
import json
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from experiments.commands import cli
from experiments.errors import RecordError
from experiments.records.jsonfields import JsonObject
from experiments.records.own import read_own_runs, write_own_run
from experiments.records.record import read_runs
from experiments.report.own import own_status, print_own_runs


def run(scenario: str, ops_s: float, **more: str) -> JsonObject:
    account = {"role": "hp", "phase": "Succeeded", "read_mib_s": 123.4, "write_mib_s": 123.4}
    controller = {"role": "other", "phase": "Running", "ops_s": 0.0}
    account |= {"ops_s": ops_s, "ms_per_op": 12.34, "io_weight": 1000, **more}
    volume = {"read_mib_s": 1.0, "write_mib_s": 2.0, "ops_s": 3.0, "ms_per_op": 7.89}
    document = {"schema": "drcio.own-run/1", "scenario": scenario, "repeat": 1, "samples": []}
    return cast(
        JsonObject,
        {**document, "pods": {"drcio-controller": controller, "database": account}, "volume": volume},
    )


def shown(runs: list[JsonObject], width: int = 80) -> list[str]:
    text = io.StringIO()
    print_own_runs(Console(file=text, width=width), runs, Path("results/own"))
    return text.getvalue().splitlines()


def test_table_shows_every_column_at_80_columns() -> None:
    lines = shown([run("contention", 1234.5), run("baseline", 12345.0)])
    (head,) = (line for line in lines if "/alone" in line and "phase" in line and "weight" in line)
    assert lines.index(head) < 5
    (row,) = (line for line in lines if "contention" in line and "database" in line)
    assert row == "contention 1  database  Succeeded  123.4  123.4   1234.5  12.34    0.10    1000"
    assert not any("controller" in line for line in lines)
    assert [line.split()[0] for line in lines if "(volume)" in line] == ["baseline", "contention"]


def test_failure_and_evidence_are_named_with_their_paths() -> None:
    log, results = "pods/drcio_database_u1", "runs/01-contention-r1/database"
    runs = [run("contention", 1.0, error="container main ended with status 3", log=log, results=results)]
    text = "\n".join(shown(runs, width=300))
    assert "error: contention 1: pod database: container main ended with status 3" in text
    assert f"its log: results/own/{log}" in text
    assert f"/results: results/own/{results}" in text
    assert own_status(runs) == 1
    assert own_status([run("contention", 1.0)]) == 0


def test_stored_runs_are_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_own_run(tmp_path, "01-baseline-r1.json", run("baseline", 8.0))
    write_own_run(tmp_path, "02-contention-r1.json", run("contention", 2.0))
    assert len(read_own_runs(tmp_path) or ()) == 2
    assert cli.main(["report", str(tmp_path)]) == 0
    assert "0.25" in capsys.readouterr().out
    assert cli.main(["report", str(tmp_path), "--json"]) == 0
    assert [one["scenario"] for one in json.loads(capsys.readouterr().out)] == ["baseline", "contention"]


def test_who_needs_runs_of_ours_says_what_these_are(tmp_path: Path) -> None:
    write_own_run(tmp_path, "01-baseline-r1.json", run("baseline", 8.0))
    with pytest.raises(RecordError, match="runs of own pods") as raised:
        read_runs(tmp_path)
    assert raised.value.hint == f"`python -m experiments report {tmp_path}` shows them"


def test_mixed_folder_is_refused_by_file(tmp_path: Path) -> None:
    write_own_run(tmp_path, "01-baseline-r1.json", run("baseline", 8.0))
    write_own_run(tmp_path, "02-contention-r1.json", {**run("contention", 1.0), "schema": "drcio.run/1"})
    with pytest.raises(RecordError, match="02-contention-r1"):
        read_own_runs(tmp_path)
    assert read_own_runs(tmp_path / "nowhere") is None
