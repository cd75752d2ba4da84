"""What people see: doctor, status table, bench, help, and errors on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller import bench, doctor
from drcio_controller.cli import main
from drcio_controller.config import Config, PolicyName
from drcio_controller.doctor import Grade
from drcio_controller.errors import NodeError
from drcio_controller.kernel.knob import Roots
from drcio_controller.status.table import render
from drcio_controller.testing.fakenode import DEVICE, FakeNode


def findings(node: FakeNode, grade: Grade) -> str:
    return "\n".join(
        f"{check.subject}: {check.finding}"
        for check in doctor.examine(node.roots, Config())
        if check.grade is grade
    )


def test_doctor_finds_a_default_node_able_and_idle(node: FakeNode) -> None:
    assert findings(node, Grade.BAD) == ""
    assert "iocost: off everywhere" in findings(node, Grade.NOTE)
    good = findings(node, Grade.GOOD)
    assert "cgroup driver systemd" in good
    assert "EBS volume" in good
    assert "would use iocost" in good


def test_doctor_says_where_io_is_off(node: FakeNode) -> None:
    level = node.hierarchy.slices[1]
    node.write(f"{node.roots.cgroup}/{level}/cgroup.subtree_control", "-io")

    assert f"{level}: off" in findings(node, Grade.NOTE)


def test_doctor_says_where_iocost_is_on(node: FakeNode) -> None:
    node.write(f"{node.roots.cgroup}/io.cost.qos", f"{DEVICE} enable=1")

    assert f"iocost: on for {DEVICE}" in findings(node, Grade.GOOD)


def test_doctor_of_a_kernel_without_the_io_controller_is_bad(node: FakeNode) -> None:
    (node.roots.cgroup / "cgroup.controllers").write_text("cpu memory\n")

    checks = doctor.examine(node.roots, Config())

    assert doctor.exit_status(checks) == 1
    assert "hint:" in doctor.render(checks)
    assert json.loads(doctor.to_json(checks))[-1]["grade"] == "bad"


def test_doctor_of_a_kernel_without_iocost_names_what_would_be_used(fast_folder: Path) -> None:
    node = FakeNode(fast_folder / "old", iocost=False)

    assert "iocost: the kernel does not have it" in findings(node, Grade.NOTE)


def test_doctor_of_cgroup_v1_names_it(tmp_path: Path) -> None:
    (tmp_path / "blkio").mkdir()
    (tmp_path / "blkio/cgroup.procs").touch()
    (check,) = doctor.examine(Roots(tmp_path, tmp_path), Config())

    assert check.grade is Grade.BAD
    assert "cgroup v1" in check.finding
    assert "unified_cgroup_hierarchy" in check.hint


def test_doctor_of_a_folder_that_is_no_cgroup_tree_says_so_and_not_that_it_is_read_only(
    node: FakeNode,
) -> None:
    (node.roots.cgroup / "cgroup.subtree_control").unlink()

    bad = findings(node, Grade.BAD)

    assert "is no cgroup tree: it has no cgroup.subtree_control" in bad
    assert "read-only" not in bad


@pytest.mark.parametrize("policy", [PolicyName.DRCIO, PolicyName.BFQ])
def test_doctor_of_a_folder_that_is_no_sysfs_says_so_and_not_that_it_is_read_only(
    node: FakeNode, tmp_path: Path, policy: PolicyName
) -> None:
    checks = doctor.examine(Roots(node.roots.cgroup, tmp_path), Config(policy=policy))

    (bad,) = [check for check in checks if check.grade is Grade.BAD]
    assert "is no sysfs" in bad.finding
    assert "--sys-root" in bad.hint


STATUS: dict[str, object] = {
    "node": "node-1",
    "at_unix_s": 1000.0,
    "policy": "drcio",
    "pods": [
        {
            "namespace": "shop",
            "name": "plain",
            "weight": None,
            "devices": [{"device": "259:3", "role": "yielding", "effect": "idle", "bytes_per_s": 0.0}],
        },
        {
            "namespace": "shop",
            "name": "fraud",
            "priority": "high",
            "priority_from": "namespace",
            "qos": "Burstable",
            "weight": 1000,
            "weight_set": 1000,
            "devices": [
                {
                    "device": "259:3",
                    "role": "protected",
                    "effect": "effective",
                    "limit": "rbps=1000 wbps=max riops=max wiops=max",
                    "bytes_per_s": 2**20,
                    "ios_per_s": 256.0,
                    "io_stall_ratio": 0.01,
                    "share_achieved": 0.02,
                    "share_intended": 0.99,
                }
            ],
        },
        {"namespace": "shop", "name": "idle", "priority": "low", "weight": 10, "devices": []},
    ],
    "devices": [
        {
            "device": "259:3",
            "name": "nvme1n1",
            "serial": "vol0123",
            "engine": "iocost",
            "acting": True,
            "acting_since_unix_s": 700.0,
            "state": "hold",
            "state_since_unix_s": 988.0,
            "reason": "a little below what the device can do",
            "budget_ratio": 1.05,
            "profile_iops": 3000,
            "profile_mib_s": 125.0,
            "profile_source": "configured",
            "instance": {
                "type": "m6i.xlarge", "iops": 6000, "mib_s": 149.0, "burst_iops": 40000, "burst_mib_s": 1192.1
            },
            "knobs": {"io.cost.qos": "enable=1 ctrl=user"},
        }
    ],
    "problems": ["something"],
    "config_error": "config.yaml: empty",
}  # fmt: skip


def test_status_shows_for_each_device_what_it_can_do_who_has_it_and_what_is_set() -> None:
    text = render(STATUS)

    rows = [line.split() for line in text.splitlines() if line.startswith("  shop/")]
    assert rows == [
        ["shop/fraud", "high", "namespace", "protected", "1000", "rbps=1000", "effective", "1.0", "256", "1%",
         "2%", "99%"],
        ["shop/plain", "-", "-", "yielding", "-", "-", "idle", "0.0", "-", "-", "-", "-"],
    ]  # fmt: skip
    for said in (
        "3000 IOPS, 125.0 MiB/s (configured); instance m6i.xlarge: 6000 IOPS, 149.0 MiB/s over all volumes",
        "acts      yes, by iocost, for 5 min 0 s",
        "hold, for 12 s: a little below what the device can do",
        "budget 1.050 of the capacity",
        "io.cost.qos: enable=1 ctrl=user",
        "managed, without I/O on a managed device: shop/idle (low)",
        "problem: something",
        "configuration refused: config.yaml: empty",
    ):
        assert said in text


def test_status_of_an_empty_document_is_survived() -> None:
    assert "no managed pods" in render({})


documents = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*STATUS, "devices", "instance", "knobs", "limit"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*STATUS]), documents))
def test_status_of_any_shape_is_shown(document: dict[str, object]) -> None:
    render(document)


HOSTILE_WORDS = "\x1b[2J\x1b]0;owned\x07\nBAD   agent  forged\r\u2028\u202e\ud800"


def test_words_of_strangers_move_no_cursor_and_forge_no_line() -> None:
    device = {"device": "259:3", "name": "sda", "serial": HOSTILE_WORDS, "knobs": {}}
    shown = render({"devices": [device], "problems": [HOSTILE_WORDS], "config_error": HOSTILE_WORDS})
    found = doctor.render([doctor.Check(grade=Grade.GOOD, subject="disk", finding=HOSTILE_WORDS)])

    for text in (shown, found):
        assert all(each == "\n" or each.isprintable() for each in text)
        assert not any(line.startswith("BAD") for line in text.splitlines())
        assert "\\x1b[2J" in text


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """Serve one answer to everybody, as something else on the agent's port would."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"7", b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("command", ["status", "doctor"])
def test_what_is_no_agents_answer_is_said_to_be_none(
    node: FakeNode, body: bytes, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(body) as url:
        roots = ["--cgroup-root", str(node.roots.cgroup), "--sys-root", str(node.roots.sys)]
        assert main([*roots, command, "--url", url]) == 1

    output = capsys.readouterr()
    assert f"no agent answers at {url}" in output.out + output.err


def run_command(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "drcio_controller", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "expected"), [(["status"], 0), (["top", "--interval", "0.1"], 0), (["doctor"], 1)]
)
def test_reader_that_has_enough_leaves_no_traceback(
    node: FakeNode, command: list[str], expected: int
) -> None:
    """As `| head -1` does; doctor's verdict is its status all the same."""
    (node.roots.cgroup / "cgroup.controllers").write_text("cpu\n")
    roots = ["--cgroup-root", str(node.roots.cgroup), "--sys-root", str(node.roots.sys)]
    with (
        answering(json.dumps(STATUS).encode()) as url,
        run_command(*roots, *command, "--url", url) as process,
    ):
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(20) == expected


def test_terminal_of_another_encoding_is_no_error() -> None:
    document = {"problems": ["größer als \u65e5\u672c"]}
    with (
        answering(json.dumps(document).encode()) as url,
        run_command("status", "--url", url, env={**os.environ, "PYTHONIOENCODING": "ascii"}) as process,
    ):
        output, error = process.communicate(timeout=20)

    assert error == ""
    assert "gr\\xf6\\xdfer als \\u65e5\\u672c" in output


def test_top_fits_onto_the_screen_and_survives_an_answer_that_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[dict[str, object] | NodeError] = [STATUS, NodeError("no agent answers"), STATUS]

    def fetch(url: str) -> dict[str, object]:
        answer = answers.pop(0)
        if isinstance(answer, NodeError):
            raise answer
        return answer

    monkeypatch.setattr("drcio_controller.cli._fetch_status", fetch)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "8")

    assert main(["top", "--count", "3", "--interval", "0.1"]) == 0
    first, missed, _ = capsys.readouterr().out.split("\x1b[H\x1b[2J")[1:]
    lines = first.splitlines()
    assert lines[0] == "node node-1   policy drcio"
    assert len(lines) == 7
    assert all(len(line) <= 40 for line in lines[:-1])
    assert "more lines" in lines[-1]
    assert "no agent answers" in missed


@pytest.mark.parametrize(
    "arguments",
    [
        ["top", "--interval", "0"],
        ["top", "--interval", "-1"],
        ["top", "--interval", "nan"],
        ["top", "--interval", "often"],
        ["top", "--count", "-1"],
        ["top", "--count", "\uff15"],
        ["bench", "--seconds", "inf"],
        ["bench", "--pods", "-3"],
    ],
)
def test_figure_that_is_none_is_refused_by_the_command_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)

    assert end.value.code == 2
    assert "is not a" in capsys.readouterr().err


def test_bench_measures_a_small_tree() -> None:
    figures = bench.measure(pods=3, seconds=1, large=20)

    assert figures.cpu_percent > 0
    assert "MiB" in bench.render(figures)
    assert json.loads(bench.to_json(figures))["pods"] == 3


@pytest.mark.parametrize("command", [[], ["doctor"], ["status"], ["top"], ["bench"]])
def test_help_helps(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])

    assert end.value.code == 0
    assert "usage: drcio-controller" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--node-name", ""], "the node's name is not known"),
        (["--node-name", "n", "--api-server", "nowhere"], "API server is 'nowhere'"),
        (
            ["--node-name", "n", "--api-server", "http://127.0.0.1:9", "--state-dir", "/proc/drcio"],
            "/proc/drcio cannot be made",
        ),
        (["status", "--url", "http://127.0.0.1:9"], "no agent answers at http://127.0.0.1:9"),
    ],
)
def test_error_is_one_line_and_a_hint(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1

    error, hint = capsys.readouterr().err.splitlines()
    assert message in error
    assert hint.startswith("hint: ")
