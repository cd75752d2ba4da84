"""A user's own manifests: which pods are taken, as what, and how a bad one is refused."""

from pathlib import Path

import pytest

from experiments.errors import SpecError
from experiments.targets.own import read_workloads

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "own-workload"


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
