"""A folder for results that cannot be one: refused in two lines, and nothing is left there."""

import errno
from pathlib import Path

import pytest

from experiments.commands import cli
from node_twin.check import rows
from node_twin.errors import output_error

FUZZ = ("fuzz", "--simulated", "--seeds", "1", "--arms", "none", "--duration", "1", "--jobs", "1")


@pytest.mark.parametrize("below", ["", "below", "below/that"])
@pytest.mark.parametrize(
    "command", [FUZZ, ("run",), ("look",), ("compare",), ("steady",), ("sweep",), ("respond",)]
)
def test_output_that_is_no_folder_is_refused(
    command: tuple[str, ...], below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert cli.main([*command, "--output", str(file / below)]) == cli.ERROR_STATUS
    error, hint = capsys.readouterr().err.strip().splitlines()
    assert error.startswith(f"error: {file}")
    assert "cannot be written" in error
    assert hint.startswith("hint: ")
    assert file.read_text() == "mine"


def test_check_of_the_volume_refuses_it_likewise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert rows.main(["--output", str(file)]) == 2
    assert f"error: {file}: cannot be written" in capsys.readouterr().err


def test_stored_seed_that_cannot_be_replaced_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_the_way = tmp_path / "seeds" / "1.json"
    in_the_way.mkdir(parents=True)
    assert cli.main([*FUZZ, "--output", str(tmp_path)]) == cli.ERROR_STATUS
    assert str(in_the_way) in capsys.readouterr().err
    assert [entry.name for entry in in_the_way.parent.iterdir()] == ["1.json"]


def test_full_disk_is_an_error_of_the_output_although_it_names_no_file(tmp_path: Path) -> None:
    error = output_error(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert error is not None
    assert error.message == f"{tmp_path}: cannot be written: No space left on device"


def test_error_of_another_file_is_not_taken_for_one_of_the_output(tmp_path: Path) -> None:
    assert output_error(FileNotFoundError(errno.ENOENT, "gone", "/elsewhere/file"), tmp_path) is None
    assert output_error(BrokenPipeError(errno.EPIPE, "Broken pipe"), tmp_path) is None
