"""What people see: doctor, status table, bench, help, and errors on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drcio_controller import bench, doctor
from drcio_controller.cli import main
from drcio_controller.config import Config
from drcio_controller.doctor import Grade
from drcio_controller.fakenode import DEVICE, FakeNode
from drcio_controller.knob import Roots
from drcio_controller.table import render


def findings(node: FakeNode, grade: Grade) -> str:
    return "\n".join(
        f"{check.subject}: {check.finding}"
        for check in doctor.examine(node.roots, Config())
        if check.grade is grade
    )


def test_doctor_finds_a_default_node_able_and_idle(node: FakeNode) -> None:
    assert findings(node, Grade.BAD) == ""
    assert "iocost: off everywhere" in findings(node, Grade.NOTE)
    good = findings(node, Grade.GOOD)
    assert "cgroup driver systemd" in good
    assert "EBS volume" in good
    assert "would use iocost" in good


def test_doctor_says_where_io_is_off(node: FakeNode) -> None:
    level = node.hierarchy.slices[1]
    node.write(f"{node.roots.cgroup}/{level}/cgroup.subtree_control", "-io")

    assert f"{level}: off" in findings(node, Grade.NOTE)


def test_doctor_says_where_iocost_is_on(node: FakeNode) -> None:
    node.write(f"{node.roots.cgroup}/io.cost.qos", f"{DEVICE} enable=1")

    assert f"iocost: on for {DEVICE}" in findings(node, Grade.GOOD)


def test_doctor_of_a_kernel_without_the_io_controller_is_bad(node: FakeNode) -> None:
    (node.roots.cgroup / "cgroup.controllers").write_text("cpu memory\n")

    checks = doctor.examine(node.roots, Config())

    assert doctor.exit_status(checks) == 1
    assert "hint:" in doctor.render(checks)
    assert json.loads(doctor.to_json(checks))[-1]["grade"] == "bad"


def test_doctor_of_a_kernel_without_iocost_names_what_would_be_used(fast_folder: Path) -> None:
    node = FakeNode(fast_folder / "old", iocost=False)

    assert "iocost: the kernel does not have it" in findings(node, Grade.NOTE)


def test_doctor_of_cgroup_v1_is_bad(tmp_path: Path) -> None:
    (check,) = doctor.examine(Roots(tmp_path, tmp_path), Config())

    assert check.grade is Grade.BAD


STATUS = {
    "node": "node-1",
    "policy": "drcio",
    "pods": [
        {
            "namespace": "shop",
            "name": "fraud",
            "priority": "high",
            "qos": "Burstable",
            "weight": 1000,
            "weight_set": 1000,
            "devices": [
                {
                    "device": "259:3",
                    "effect": "effective",
                    "bytes_per_s": 2**20,
                    "ios_per_s": 256.0,
                    "io_stall_ratio": 0.01,
                    "share_achieved": 0.02,
                    "share_intended": 0.99,
                }
            ],
        },
        {"namespace": "shop", "name": "plain", "weight": None, "devices": []},
    ],
    "devices": [
        {
            "device": "259:3",
            "name": "nvme1n1",
            "engine": "iocost",
            "state": "hold",
            "reason": "the knee was seen a moment ago",
            "budget_ratio": 1.05,
        }
    ],
    "problems": ["something"],
    "config_error": "config.yaml: empty",
}


def test_status_is_a_table_of_managed_pods_and_the_last_decision() -> None:
    text = render(STATUS)

    (row,) = (line for line in text.splitlines() if line.startswith("shop/"))
    assert row.split() == [
        "shop/fraud", "high", "Burstable", "1000", "259:3", "effective", "1.0", "256", "1%", "2%", "99%"
    ]  # fmt: skip
    assert "hold: the knee was seen a moment ago" in text
    assert "problem: something" in text
    assert "configuration refused: config.yaml: empty" in text


def test_status_of_an_empty_document_is_survived() -> None:
    assert "no managed pods" in render({})


def test_bench_measures_a_small_tree() -> None:
    figures = bench.measure(pods=3, seconds=1, large=20)

    assert figures.cpu_percent > 0
    assert "MiB" in bench.render(figures)
    assert json.loads(bench.to_json(figures))["pods"] == 3


@pytest.mark.parametrize("command", [[], ["doctor"], ["status"], ["bench"]])
def test_help_helps(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])

    assert end.value.code == 0
    assert "usage: drcio-controller" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--node-name", ""], "the node's name is not known"),
        (["--node-name", "n", "--api-server", "nowhere"], "API server is 'nowhere'"),
        (["status", "--url", "http://127.0.0.1:9"], "no agent answers at http://127.0.0.1:9"),
    ],
)
def test_error_is_one_line_and_a_hint(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1

    error, hint = capsys.readouterr().err.splitlines()
    assert message in error
    assert hint.startswith("hint: ")
