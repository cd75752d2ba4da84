"""The volume's files are made by the images' own commands, beside what else is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.targets.twin import filling_volume, prepare_volume
from node_twin.errors import TwinError


class Heard:
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.doings: list[str] = []

    def doing(self, what: str) -> None:
        self.doings.append(what)

    def within_run(self, elapsed_s: float, total_s: float) -> None:
        raise AssertionError((elapsed_s, total_s))


def test_command_that_fails_is_named_with_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "hp").write_text("where a folder should be")
    with pytest.raises(TwinError, match=r"hp_service prepare --data=.*/hp` failed with status \d+:\n.*hp"):
        prepare_volume(tmp_path, Heard())


def test_commands_end_with_a_context_that_does_not_wait_for_them(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), filling_volume(tmp_path / "volume", Heard()):
        raise ZeroDivisionError
    left = [
        path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read_bytes(path)
    ]
    assert not left


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
