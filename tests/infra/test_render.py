"""The command line: what it writes, how fast, and how it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stacks.dryrun import ROOT

STACKS = ("dev", "baseline", "contention", "drcio")
LIMIT_S = 15


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stacks.render", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("stack", STACKS)
def test_rendering_writes_everything_in_time_and_nothing_stale_is_left(stack: str, tmp_path: Path) -> None:
    earlier = tmp_path / "kubernetes" / "of-an-earlier-rendering.yaml"
    earlier.parent.mkdir()
    earlier.touch()
    before = os.times()
    done = run("--stack", stack, "--output", str(tmp_path))
    after = os.times()
    # Its own CPU time: on an idle machine what passes on the clock, and nobody else's load makes it more.
    took_s = after.children_user + after.children_system - before.children_user - before.children_system
    assert done.returncode == 0, done.stderr
    assert took_s < LIMIT_S
    assert {path.name for path in tmp_path.iterdir()} == {
        "kubernetes",
        "helm",
        "graph.svg",
        "graph.txt",
        "outputs.json",
        "cost.txt",
    }
    assert not earlier.exists()
    assert len(list((tmp_path / "kubernetes").glob("*.yaml"))) >= 8
    assert "total" in (tmp_path / "cost.txt").read_text()
    assert "[secret]" in (tmp_path / "outputs.json").read_text()
    assert json.loads((tmp_path / "outputs.json").read_text())["scenario"] in STACKS


def test_without_output_it_prints_the_graph_and_the_cost() -> None:
    done = run("--stack", "baseline", "--config", "cluster.nodes=3")
    assert done.returncode == 0, done.stderr
    assert "FraudService hp-service" in done.stdout
    assert "total" in done.stdout
    assert "placeholders" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stack", "nope"), "stack 'nope' has no file Pulumi.nope.yaml; expected one of"),
        (("--stack", "drcio", "--config", "scenario=nope"), "drcio:scenario is 'nope'; expected one of"),
        (("--stack", "drcio", "--config", "scenario"), "--config is 'scenario'; expected KEY=VALUE"),
        (("--stack", "drcio", "--output", "/proc/nowhere"), "[Errno 2] No such file or directory"),
        (("--stack", "drcio", "--config", "storage.iop=1"), "drcio:storage.iop is no configuration key"),
    ],
)
def test_refusal_is_one_line_and_a_hint_without_traceback(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith(f"error: {message}")
    assert second.startswith("hint: ")


def test_help_shows_examples() -> None:
    assert "python -m stacks.render --stack drcio" in run("--help").stdout
