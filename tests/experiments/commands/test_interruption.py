"""Ctrl-C and SIGTERM: what the command line says, at once and at the end."""

import argparse
import os
import signal
import time
from pathlib import Path

import pytest

from experiments.commands import cli, experiment


@pytest.mark.parametrize("runs", [0, 1, 2])
def test_folder_of_finished_runs_is_named(
    runs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def command(options: argparse.Namespace, _console: object) -> int:
        (options.output / "runs").mkdir()
        for number in range(runs):
            (options.output / "runs" / f"{number:02d}-baseline-r1.json").touch()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
        return 0

    monkeypatch.setattr(experiment, "_run", command)
    assert cli.main(["run", "--output", str(tmp_path)]) == cli.INTERRUPTED_STATUS
    first, last = capfd.readouterr().err.strip().splitlines()
    assert first == "interrupted: clearing up..."
    kept = {
        0: f"see {tmp_path}",
        1: f"1 finished run is in {tmp_path}",
        2: f"2 finished runs are in {tmp_path}",
    }
    assert last == f"nothing is left running; {kept[runs]}"
