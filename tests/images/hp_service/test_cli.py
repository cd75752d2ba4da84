from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hp_service import cli
from hp_service.dataset import Metadata
from hp_service.prepare import PrepareOptions


@pytest.fixture(autouse=True)
def _keep_process_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("hp_service.cli.signal.signal", lambda *_: None)


@pytest.mark.parametrize("command", ["prepare", "serve", "bench"])
def test_help_names_the_data_directory(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])
    assert "--data DIR" in capsys.readouterr().out


@pytest.mark.parametrize("scale", ["0", "-1", "two", "1.5"])
def test_scale_must_be_above_zero(scale: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["prepare", "--data", "x", "--scale", scale])
    assert "is not a whole number above zero" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "bench"])
def test_unprepared_directory_is_one_line_and_a_hint(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "--data", str(tmp_path)]) == 1
    problem, hint = capsys.readouterr().err.splitlines()
    assert problem == f"hp-service: {tmp_path}/metadata.json is missing: {tmp_path} is not prepared"
    assert hint == f"hint: run `hp-service prepare --data {tmp_path}` first"


def test_prepare_says_when_there_is_nothing_to_do(
    options: PrepareOptions, prepared: tuple[Path, Metadata], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(options.data_dir), "--cache-dir", str(options.cache_dir), "--epochs", "2"]
    assert cli.main(["prepare", *arguments]) == 0
    assert capsys.readouterr().out == f"{options.data_dir} is up to date\n"


def test_deciding_that_nothing_is_to_do_imports_no_torch() -> None:
    code = "import sys, hp_service.prepare, hp_service.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
