"""Ctrl-C and SIGTERM: what the command line says, at once and at the end."""

import argparse
import os
import signal
import subprocess
import sys
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


def test_workers_of_a_simulated_fuzz_end_without_a_word(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments", "fuzz", "--simulated", "--seeds", "1-400", "--jobs", "2"]
    with subprocess.Popen(
        [*command, "--arms", "none", "--duration", "1", "--output", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            while not list(tmp_path.glob("seeds/*.json")):
                assert process.poll() is None
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all of them
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == cli.INTERRUPTED_STATUS
    assert errors.strip().splitlines() == [
        "interrupted: clearing up...",
        f"nothing is left running; see {tmp_path}",
    ]
