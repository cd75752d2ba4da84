"""When images are built and pushed on the real engine: exactly when their sources change."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cluster.programs import ROOT
from tests.engine.bench import Bench
from tests.engine.stack import Outcome, Stack, Workspace

IMAGES = 5
QUIET = {"drcio:monitoring.enabled": False}


def checkout_at(folder: Path) -> Path:
    """Copy what git would have of this checkout, under another umask."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            copy = folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy)
            copy.chmod(copy.stat().st_mode | 0o020)
    return folder


@pytest.fixture
def checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two of them; the first is where the engine starts its providers."""
    made = checkout_at(tmp_path / "one"), checkout_at(tmp_path / "elsewhere" / "two")
    monkeypatch.chdir(made[0])
    return made


def built(outcome: Outcome) -> set[str]:
    return {step.name for step in outcome.changes if step.type == "docker:index/image:Image"}


@pytest.fixture
def workspace(bench: Bench, checkouts: tuple[Path, Path]) -> Workspace:
    return bench.another_workspace(f"images-{checkouts[0].parent.name}", source=checkouts[0])


@pytest.fixture
def stack(bench: Bench, workspace: Workspace) -> Iterator[Stack]:
    """A stack that builds and pushes all images to ECR, whose tags are immutable."""
    others = dict(bench.account.images)
    made = workspace.stack("images", "dev", QUIET)
    assert len(built(made.up())) == IMAGES
    yield made
    made.destroy()
    assert bench.account.images == others


def test_only_a_changed_source_is_built_and_pushed(
    stack: Stack, workspace: Workspace, checkouts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stack.up().changed == []

    stack.configure({"drcio:ioWeights.low": 20})
    assert built(stack.up()) == set()

    first, second = checkouts
    workspace.source = second
    monkeypatch.chdir(second)
    assert stack.up().changed == []

    source = second / "images" / "lp-batch" / "src" / "lp_batch" / "units.py"
    before = source.read_text()
    source.write_text(before + "\n# changed\n")
    # The experiment's image holds the batch job's package: its runner names the patterns.
    changed = stack.up()
    assert built(changed) == {"experiment", "lp-batch"}

    # A revert: the old tag is still in the registry, which would refuse it.
    source.write_text(before)
    assert built(stack.up()) == {"experiment", "lp-batch"}
    assert stack.up().changed == []

    workspace.source = first
    monkeypatch.chdir(first)
    assert stack.up().changed == []
    for image in ("experiments/judgement/verdict.py", "images/experiment-runner/Dockerfile"):
        (first / image).write_text((first / image).read_text() + "\n# changed\n")
        assert built(stack.up()) == {"experiment"}
    (first / "node_twin" / "host" / "vm.py").write_text("# in no image")
    (first / "README.md").write_text("nor this")
    assert stack.up().changed == []
