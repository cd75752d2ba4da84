"""A user's own manifests: which pods are taken, as what, and how a bad one is refused."""

import json
from pathlib import Path

import pytest
import yaml

from experiments.errors import SpecError
from experiments.targets.own_manifests import read_workloads

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "own-workload"


def manifest(name: str = "a", **changes: object) -> dict[str, object]:
    metadata = {
        "name": name,
        "labels": changes.pop("labels", {}),
        "annotations": changes.pop("annotations", {}),
    }
    containers = [{"name": "main", "command": ["sh"]}]
    return {"kind": "Pod", "metadata": metadata, "spec": {"containers": containers, **changes}}


def write(folder: Path, *documents: object, name: str = "pod.yaml") -> Path:
    (folder / name).write_text(yaml.safe_dump_all(documents))
    return folder


def refusal(folder: Path) -> SpecError:
    with pytest.raises(SpecError) as raised:
        read_workloads(folder)
    return raised.value


def test_documented_example_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fio").touch(mode=0o755)
    monkeypatch.setattr("node_twin.layout.sys.executable", str(tmp_path / "python"))
    roles = {workload.name: workload.role for workload in read_workloads(EXAMPLE)}
    assert roles == {"database": "load", "backup": "lp"}


def test_role_follows_priority_without_an_annotation(tmp_path: Path) -> None:
    write(tmp_path, manifest("a", labels={"drcio.io/priority": "high"}), manifest("b"))
    assert [(w.name, w.role) for w in read_workloads(tmp_path)] == [("a", "hp"), ("b", "other")]


def test_dates_are_texts_as_an_api_server_takes_them(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(
        yaml.safe_dump(manifest(annotations={"made": "DATE"})).replace("DATE", "2026-01-02")
    )
    (workload,) = read_workloads(tmp_path)
    assert "2026-01-02" in json.dumps(workload.manifest)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"kind": "Deployment", "metadata": {"name": "a"}}, "kind is 'Deployment'; expected Pod"),
        ("just text", "kind is 'str'; expected Pod"),
        ({"kind": "Pod", "metadata": {}}, "metadata.name is None; expected a string"),
        (manifest(annotations={"experiments.drcio.io/role": "boss"}), "is 'boss'; expected one of hp, lp"),
        (manifest(labels={"drcio.io/priority": "lowest"}), "is 'lowest'; expected one of high, medium, low"),
        (
            manifest(annotations={"experiments.drcio.io/role": "load"}),
            "restartPolicy is Always (the default)",
        ),
        (manifest(nodeName="other"), "spec.nodeName is 'other'; expected none, or node-twin"),
        (manifest("drcio-controller"), "is the controller's own"),
        (manifest(containers=[{"name": "x", "command": ["fiooo"]}]), "command is 'fiooo'"),
        (manifest(containers=[{"name": "x", "image": "nginx"}]), "has no command"),
        (manifest(volumeClaims=[]), "volumeClaims is no field of a Pod"),
    ],
)
def test_bad_manifest_is_refused_by_file(tmp_path: Path, document: object, message: str) -> None:
    text = str(refusal(write(tmp_path, document)))
    assert message in text
    assert str(tmp_path / "pod.yaml") in text


def test_everything_wrong_is_named_at_once(tmp_path: Path) -> None:
    write(tmp_path, manifest(containers=[{"name": "x", "command": ["fiooo"]}]), name="one.yaml")
    write(tmp_path, manifest("b", labels={"drcio.io/priority": "lowest"}), name="two.yaml")
    error = refusal(tmp_path)
    assert [line.split(":")[0] for line in str(error).splitlines()] == [
        str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml"),
    ]  # fmt: skip
    assert error.hint is not None
    assert "did you mean low?" in error.hint


def test_a_name_is_there_once(tmp_path: Path) -> None:
    assert "pod 'a' is there twice" in str(refusal(write(tmp_path, manifest(), manifest())))


def test_no_yaml_and_no_pod_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text("")
    assert "no Pod in it" in str(refusal(tmp_path))
    (tmp_path / "pod.yaml").write_text("kind: [unclosed\n")
    assert "not YAML" in str(refusal(tmp_path))
    assert "no such folder" in str(refusal(tmp_path / "nowhere"))
