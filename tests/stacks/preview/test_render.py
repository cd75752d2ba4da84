"""The command line: what it writes, how fast, and how it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stacks.preview.dryrun import ROOT
from stacks.render import main

# The SDKs load lazily, and warn on loading of classes of theirs that are not used here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

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


def test_command_renders_in_time(tmp_path: Path) -> None:
    before = os.times()
    done = run("--stack", "drcio", "--output", str(tmp_path))
    after = os.times()
    # Its own CPU time: on an idle machine what passes on the clock, and nobody else's load makes it more.
    took_s = after.children_user + after.children_system - before.children_user - before.children_system
    assert done.returncode == 0, done.stderr
    assert took_s < LIMIT_S


def test_command_exits_as_main_returns() -> None:
    done = run("--stack", "nope")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("stack", STACKS)
def test_rendering_writes_everything_in_time_and_nothing_stale_is_left(stack: str, tmp_path: Path) -> None:
    earlier = tmp_path / "kubernetes" / "of-an-earlier-rendering.yaml"
    earlier.parent.mkdir()
    earlier.touch()
    before_s = time.process_time()
    assert main(["--stack", stack, "--output", str(tmp_path)]) == 0
    assert time.process_time() - before_s < LIMIT_S
    assert {path.name for path in tmp_path.iterdir()} == {
        "kubernetes",
        "kustomization.yaml",
        "helm",
        "graph.dot",
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


def test_without_output_it_prints_the_graph_and_the_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", "baseline", "--config", "cluster.nodes=3"]) == 0
    printed = capsys.readouterr().out
    assert "FraudService hp-service" in printed
    assert "total" in printed
    assert "placeholders" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stack", "nope"), "stack 'nope' has no file Pulumi.nope.yaml; expected one of"),
        (("--stack", "drcio", "--config", "scenario=nope"), "drcio:scenario is 'nope'; expected one of"),
        (("--stack", "drcio", "--config", "scenario"), "--config is 'scenario'; expected KEY=VALUE"),
        (("--stack", "drcio", "--output", "/proc/nowhere"), "[Errno 2] No such file or directory"),
        (
            ("--stack", "drcio", "--config", "scenario.x=1"),
            "drcio:scenario.x is to be set, and drcio:scenario is",
        ),
        (
            ("--stack", "drcio", "--config", 'ioWeights={"high": 9}', "--config", "ioWeights.low=1"),
            "drcio:ioWeights.low is to be set, and drcio:ioWeights is",
        ),
        (("--stack", "drcio", "--config", "storage.iop=1"), "drcio:storage.iop is no configuration key"),
    ],
)
def test_refusal_is_one_line_and_a_hint_without_traceback(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {message}")
    assert second.startswith("hint: ")


IMAGE = f"registry.example/it@sha256:{'0' * 64}"
ALONE = (
    *("--stack", "drcio", "--config", "workloads.enabled=false", "--config", "platform=existing"),
    *("--config", "experiment.enabled=false", "--config", "images.build=none"),
)


def test_what_can_be_applied_is_said_to_be_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A digest of zeros is no placeholder, and neither is an account's number in it."""
    given = ("--config", f"images.controller={IMAGE}", "--output", str(tmp_path))
    assert main([*ALONE, *given]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == f"next: kubectl apply -k {tmp_path}"
    assert "hint" not in printed


@pytest.mark.parametrize(
    "given",
    [
        ("platform=existing", "images.registry=registry.example/mine"),
        (),
    ],
)
def test_placeholders_are_named_each_with_its_own_key(
    given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [word for text in (*given, f"images.hpService={IMAGE}") for word in ("--config", text)]
    assert main(["--stack", "drcio", "--output", str(tmp_path), *options]) == 0
    said, hint = capsys.readouterr().out.splitlines()[-2:]
    assert said.startswith("Image references of controller, lp-batch")
    assert "images.controller=NAME@sha256:... --config images.lpBatch=NAME" in hint
    assert "hpService" not in hint


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("images.controller=here/it:latest", "--config images.controller=VALUE; the default is empty"),
        ("platform=nope", "--config platform=VALUE; the default is eks"),
        ("controller.enabled=false", "--config controller.enabled=true"),
        ("storage.iop=1", "did you mean storage.iops? leave out --config storage.iop; every key"),
        ('storage={"iop": 1}', "did you mean storage.iops? leave out --config storage; every key"),
        ("a.b.c=1", "leave out --config a.b.c; every key"),
        ("platform=exsiting", "did you mean existing? --config platform=VALUE; the default is eks"),
    ],
)
def test_hint_is_about_the_option_that_the_value_came_from(
    given: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*ALONE, "--config", f"images.controller={IMAGE}", "--config", given]) == 2
    said = capsys.readouterr().err.splitlines()[1]
    assert said.startswith(f"hint: {hint}")
    assert "pulumi" not in said


def test_stack_that_names_no_image_is_shown_and_said_to_be_refused_by_an_update(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--stack", "local", "--output", str(tmp_path)]) == 0
    said, hint = capsys.readouterr().out.splitlines()[-2:]
    assert said == (
        "Image references of controller, hp-service, lp-batch, experiment are placeholders: "
        "the stack neither builds nor names them, which `pulumi up` refuses."
    )
    assert "images.hpService=NAME@sha256:..." in hint


def test_warning_of_the_program_is_shown_with_a_hint_about_an_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--stack", "dev"]) == 0
    warning, hint = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: drcio:cluster.publicAccessCidrs holds 0.0.0.0/0")
    assert hint == "hint: --config cluster.publicAccessCidrs=YOUR-ADDRESS/32"


def test_without_its_packages_it_says_how_to_get_them() -> None:
    command = [sys.executable, "-S", "-m", "stacks.render", "--stack", "drcio"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith("error: this Python, ")
    assert "has no package" in first
    assert second.startswith("hint: make setup-program, then .venv/bin/python -m stacks.render")


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "python -m stacks.render --stack drcio" in capsys.readouterr().out
