import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from load_generator.cli import main
from tests.images.load_generator.stub import StubService, serving


def run_args(stub: StubService, output: Path, *more: str) -> list[str]:
    # A generous limit: a busy machine makes the generator late, and that is not what is tested here.
    arguments = ["run", f"--url={stub.url}", "--rate=50", "--duration=0.4", "--lag-limit=10000", "--quiet"]
    return [*arguments, f"--output={output}", *more]


def test_run_writes_a_record_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(StubService()) as stub:
        assert main(run_args(stub, tmp_path / "out", "--arrivals=constant")) == 0
    document = json.loads((tmp_path / "out" / "load.json").read_text())
    assert document["schema"] == "drcio.load/1"
    assert document["completed"] == 20
    out = capsys.readouterr().out
    assert "fetch" in out
    assert "own lag" in out


def test_a_level_sets_the_rate(tmp_path: Path) -> None:
    with serving(StubService()) as stub:
        arguments = [
            "run",
            f"--url={stub.url}",
            "--level=high",
            "--duration=0.1",
            "--lag-limit=9999",
        ]
        assert main([*arguments, "--quiet", f"--output={tmp_path}"]) == 0
    assert json.loads((tmp_path / "load.json").read_text())["plan"]["rate_rps"] == 100


def test_a_run_that_fell_behind_ends_with_status_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(StubService()) as stub:
        assert main(run_args(stub, tmp_path, "--lag-limit=0.001")) == 4
    assert "INVALID: sent late" in capsys.readouterr().out


def test_records_merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    with serving(StubService()) as stub:
        for seed in (1, 2):
            assert main(run_args(stub, tmp_path / str(seed), f"--seed={seed}")) == 0
            paths.append(str(tmp_path / str(seed) / "load.json"))
    parts = [json.loads(Path(path).read_text()) for path in paths]
    assert main(["merge", *paths, f"--output={tmp_path / 'all'}"]) == 0
    merged = json.loads((tmp_path / "all" / "load.json").read_text())
    assert merged["completed"] == sum(part["completed"] for part in parts)
    capsys.readouterr()
    assert main(["merge", *paths]) == 0
    assert json.loads(capsys.readouterr().out) == merged


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["run", "--url=nowhere", "--output=/tmp/x"], 2, "error: url is 'nowhere'"),
        (["run", "--url=http://h/s", "--output=/dev/null/x"], 2, "error: --output /dev/null/x"),
        (["merge", "/nonexistent/load.json"], 1, "error: /nonexistent/load.json: No such file"),
    ],
)
def test_errors_are_one_line_with_a_status(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == status
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_and_writes_what_there_is(number: signal.Signals, status: int, tmp_path: Path) -> None:
    with serving(StubService()) as stub:
        command = [sys.executable, "-m", "load_generator", *run_args(stub, tmp_path, "--duration=60")]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                deadline_s = time.monotonic() + 20
                while len(stub.received_ids) < 10 and time.monotonic() < deadline_s:
                    time.sleep(0.02)
                process.send_signal(number)
                _, err = process.communicate(timeout=10)
            finally:
                process.kill()
    assert process.returncode == status, err
    document = json.loads((tmp_path / "load.json").read_text())
    assert document["interrupted"]
    assert document["completed"] >= 5
    assert "Traceback" not in err
