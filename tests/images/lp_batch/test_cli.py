import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lp_batch.cli import main

QUICK = ["--file-size=4MiB", "--block-size=4KiB", "--num-workers=4"]


def run_args(directory: Path, *more: str) -> list[str]:
    return ["run", f"--dir={directory}", "--metrics-port=0", *QUICK, *more]


@pytest.mark.parametrize(
    "pattern",
    ["sequential-read", "sequential-write", "random-read", "random-write", "mixed", "buffered-write-fsync"],
)
def test_every_pattern_runs_on_a_real_file_and_sums_up(
    pattern: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "summary.json"
    status = main(
        run_args(
            tmp_path / "lp",
            f"--pattern={pattern}",
            "--num-operations=600",
            f"--summary={path}",
            "--read-back-every=16",
            "--verify-full=0.5",
        )
    )
    assert status == 0
    summary = json.loads(path.read_text())
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == summary
    assert summary["schema"] == "drcio.lp/1"
    assert summary["operations"] == 600
    assert summary["bytes"] == 600 * 4096
    assert summary["stop_reason"] == "num-operations"
    assert summary["mib_s"] > 0
    assert summary["read"]["operations"] + summary["write"]["operations"] == 600
    assert summary["verified_full"] > 0
    assert summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"] <= summary["latency_ms"]["max"]
    assert (summary["fsyncs"] > 0) == (pattern == "buffered-write-fsync")


def test_blocks_written_in_one_size_verify_in_another(tmp_path: Path) -> None:
    directory = tmp_path / "lp"
    assert main(["prepare", f"--dir={directory}", "--file-size=4MiB"]) == 0
    assert main(run_args(directory, "--pattern=random-write", "--num-operations=500")) == 0
    assert (
        main(
            run_args(
                directory,
                "--pattern=mixed",
                "--block-size=64KiB",
                "--verify-full=1",
                "--num-operations=500",
            )
        )
        == 0
    )


def test_corruption_ends_with_status_3_and_a_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "lp"
    main(["prepare", f"--dir={directory}", "--file-size=4MiB"])
    with (directory / "lp.dat").open("r+b") as file:
        file.seek(5 * 4096 + 2000)
        file.write(b"x" * 100)
    assert (
        main(run_args(directory, "--pattern=sequential-read", "--verify-full=1", "--num-operations=100")) == 3
    )
    captured = capsys.readouterr()
    summary = json.loads(captured.out.splitlines()[-1])
    assert summary["stop_reason"] == "error"
    assert "page 5 (byte 20480): payload checksum" in summary["error"]
    assert "error: " in captured.err
    assert "hint: " in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--block-size=3000"], "error: --block-size is 3000B; expected a multiple of 4KiB"),
        (["--num-workers=0"], "error: --num-workers is 0; expected at least 1"),
        (["--num-operations=1", "--summary=/nonexistent/s.json"], "error: --summary /nonexistent/s.json"),
    ],
)
def test_bad_options_are_one_line_and_no_traceback(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(run_args(tmp_path, *arguments)) in (1, 2)
    assert message in capsys.readouterr().err


def test_an_unreadable_size_is_refused_by_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--dir=/nowhere", "--file-size=huge"])
    assert ended.value.code == 2
    assert "--file-size: size 'huge' is not understood" in capsys.readouterr().err


def test_a_taken_metrics_port_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104 - what the exporter binds
        port = taken.getsockname()[1]
        status = main(["run", f"--dir={tmp_path}", *QUICK, f"--metrics-port={port}"])
    assert status == 1
    assert f"error: cannot serve metrics on port {port}" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_within_a_second_and_leaves_metrics_and_summary(
    number: signal.Signals, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    path = tmp_path / "summary.json"
    command = [
        sys.executable,
        *("-m", "lp_batch", "run", f"--dir={tmp_path / 'lp'}", *QUICK, "--pattern=mixed"),
        *("--rate=4", f"--metrics-port={port}", f"--summary={path}"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            samples = wait_for_operations(port)
            before_s = time.monotonic()
            process.send_signal(number)
            out, err = process.communicate(timeout=10)
            took_s = time.monotonic() - before_s
        finally:
            process.kill()
    assert process.returncode == (0 if number == signal.SIGTERM else 130), err
    assert took_s < 1
    summary = json.loads(out.splitlines()[-1])
    assert summary == json.loads(path.read_text())
    assert summary["stop_reason"] == number.name.lower()
    assert summary["operations"] >= samples["batch_io_operations_total"]
    assert samples["batch_io_bytes_total"] == 4096 * samples["batch_io_operations_total"]
    assert samples["batch_io_latency_seconds_count"] == samples["batch_io_operations_total"]
    assert "batch_active_operations" in samples
    assert "Traceback" not in err


def wait_for_operations(port: int) -> dict[str, float]:
    """Scrape until operations were counted; return the samples, summed over their labels."""
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
                text = response.read().decode()
        except OSError:
            time.sleep(0.05)
            continue
        samples: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples[sample.name] = samples.get(sample.name, 0) + sample.value
        if samples["batch_io_operations_total"] > 10:
            return samples
        time.sleep(0.05)
    raise AssertionError("no operations were counted")


def test_an_image_without_write_permission_is_a_clear_error(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    assert main(run_args(tmp_path / "lp", "--num-operations=1")) == 1


def test_two_jobs_on_one_directory_do_not_corrupt_each_other(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lp_batch"]
    command += run_args(tmp_path, "--pattern=mixed", "--num-operations=3000", "--verify-full=1")
    jobs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "ab"
    ]
    for job in jobs:
        _, err = job.communicate(timeout=30)
        assert job.returncode == 0, err
