"""Idle time is executed by a process that has read its files before anything is measured."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_twin.guest.window import IDLE_SLICE, IdleTime


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[IdleTime]:
    idle = IdleTime(virtual=True, cgroup_root=tmp_path)
    yield idle
    idle.close()


def _process(cgroup_root: Path) -> Path:
    return Path("/proc", (cgroup_root / IDLE_SLICE / "cgroup.procs").read_text())


def _state(process: Path) -> str:
    return (process / "stat").read_text().rpartition(")")[2].split()[0]


def test_idle_process_is_ready_and_stopped_before_anything_is_measured(
    idle: IdleTime, tmp_path: Path
) -> None:
    process = _process(tmp_path)

    assert _state(process) == "T"
    # It has got as far as the memory that holds its instructions: what is left needs no file.
    assert " rwxs " in (process / "maps").read_text()


def test_idle_time_is_executed_until_each_who_began_has_ended(idle: IdleTime, tmp_path: Path) -> None:
    process = _process(tmp_path)

    with idle.executed():
        with idle.executed():
            assert _state(process) == "R"
        assert _state(process) == "R"
    assert (tmp_path / IDLE_SLICE / "cpu.idle").read_text() == "1"
    _stopped_soon(process)


def _stopped_soon(process: Path) -> None:
    """Wait for a signal to arrive: where the machine is busy that takes a turn on its CPU."""
    deadline_s = time.monotonic() + 30
    while _state(process) != "T":
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
