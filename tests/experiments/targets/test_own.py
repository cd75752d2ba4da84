"""A user's own manifests: which pods are taken, as what, and how a bad one is refused."""

import io
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from experiments.errors import SpecError
from experiments.judgement.testing import build_spec
from experiments.records.jsonfields import JsonObject
from experiments.records.record import RUNS_FOLDER
from experiments.records.spec import plan_runs
from experiments.targets.own import keep_results, print_own_runs, read_workloads
from node_twin.kubelet.config import results_of
from node_twin.layout import PODS_FOLDER

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "own-workload"


def write(folder: Path, text: str) -> Path:
    (folder / "pod.yaml").write_text(text)
    return folder


def test_documented_example_is_read() -> None:
    roles = {workload.name: workload.role for workload in read_workloads(EXAMPLE)}
    assert roles == {"database": "load", "backup": "lp"}


def test_role_follows_priority_without_an_annotation(tmp_path: Path) -> None:
    write(tmp_path, "kind: Pod\nmetadata: {name: a, labels: {drcio.io/priority: high}}\n---\n"
          "kind: Pod\nmetadata: {name: b}\n")  # fmt: skip
    assert [(w.name, w.role) for w in read_workloads(tmp_path)] == [("a", "hp"), ("b", "other")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Deployment\nmetadata: {name: a}\n", "kind is 'Deployment'; expected Pod"),
        ("just text\n", "kind is 'str'; expected Pod"),
        ("kind: Pod\nmetadata: {}\n", "metadata.name is missing"),
        ("kind: [unclosed\n", "not YAML"),
        (
            "kind: Pod\nmetadata: {name: a, annotations: {experiments.drcio.io/role: boss}}\n",
            "is 'boss'; expected one of hp, lp, load, other",
        ),
        ("kind: Pod\nmetadata: {name: a}\n---\nkind: Pod\nmetadata: {name: a}\n", "'a' is there twice"),
        ("", "no Pod in it"),
    ],
)
def test_bad_manifest_is_refused_by_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as raised:
        read_workloads(write(tmp_path, text))
    assert str(tmp_path) in str(raised.value)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such folder"):
        read_workloads(tmp_path / "nowhere")


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
