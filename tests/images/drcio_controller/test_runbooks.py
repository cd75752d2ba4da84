"""Every command that a runbook names is run: those of the agent's container with its environment."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from drcio_controller.cli import main
from drcio_controller.manifest import APP_LABEL
from drcio_controller.testing.fakenode import FakeNode
from tests.images.drcio_controller.rig import Rig, running

RUNBOOKS: Final = Path(__file__).resolve().parents[3] / "docs" / "runbooks"
_COMMAND: Final = re.compile(r"^\s{4,}(kubectl .+|drcio-controller .+)$", re.MULTILINE)
_SUBCOMMANDS: Final = ("get", "describe", "logs", "exec")


Words = tuple[str, ...]


def commands() -> list[tuple[str, Words]]:
    found = {
        (page.name, tuple(shlex.split(line)))
        for page in RUNBOOKS.glob("*.md")
        for line in _COMMAND.findall(page.read_text())
    }
    return sorted(found)


def inside() -> list[Words]:
    """Return what runs in the agent's container, after `kubectl exec ... --`."""
    return sorted({words[words.index("--") + 1 :] for _, words in commands() if "--" in words})


@pytest.fixture
def rig(node: FakeNode, fast_folder: Path) -> Iterator[Rig]:
    with running(node, fast_folder) as made:
        made.expect_weight(made.add_pod("a", "high"), 1000)
        yield made


@pytest.mark.parametrize("page", [page.name for page in RUNBOOKS.glob("*.md")])
def test_every_runbook_names_a_command_of_the_controller(page: str) -> None:
    assert any("drcio-controller" in words for name, words in commands() if name == page)


@pytest.mark.parametrize("command", inside(), ids=" ".join)
def test_command_in_the_agents_container_runs(
    rig: Rig, command: Words, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in rig.container_environment().items():
        monkeypatch.setenv(name, value)

    assert command[0] == "drcio-controller"
    assert main(list(command[1:])) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("words", sorted({words for _, words in commands()}), ids=" ".join)
def test_command_outside_names_what_is_deployed(words: Words) -> None:
    assert words[0] == "kubectl"
    assert words[1:3] == ("-n", "drcio-system")
    assert words[3] in _SUBCOMMANDS
    for selector in (words[index + 1] for index, word in enumerate(words) if word == "-l"):
        assert selector == f"app={APP_LABEL}"
