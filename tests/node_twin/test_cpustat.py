import os
import time
from pathlib import Path
from typing import cast

import pytest

from node_twin.cpustat import HostWatch, read_cpu

TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
STAT = """cpu  100 10 50 700 30 5 5 40 60 0
cpu0 50 5 25 350 15 3 2 20 30 0
cpu1 50 5 25 350 15 2 3 20 30 0
intr 1 2 3
"""


def process(proc: Path, pid: int, name: str, times: str, children: str = "") -> None:
    folder = proc / str(pid)
    (folder / "task" / str(pid)).mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 {times} 20 0 1 0")
    (folder / "task" / str(pid) / "children").write_text(children)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "stat").write_text(STAT)
    return tmp_path


def test_cpus_times_are_told_apart(proc: Path) -> None:
    assert read_cpu(proc=proc) == {
        "cpus": 2,
        # Guest time (the ninth column) is in the user time already; waiting for a disk is idling.
        "busy_us": 170 * TICK_US,
        "idle_us": 730 * TICK_US,
        "steal_us": 40 * TICK_US,
        "own_us": None,
        "pressure_us": None,
        "load_1m": None,
    }


def test_pressure_and_load_are_read_where_the_kernel_has_them(proc: Path) -> None:
    (proc / "pressure").mkdir()
    (proc / "pressure" / "cpu").write_text("some avg10=1.00 avg60=0.50 avg300=0.10 total=123456\n")
    (proc / "loadavg").write_text("1.25 0.50 0.10 2/300 4711\n")
    seen = read_cpu(proc=proc)
    assert (seen["pressure_us"], seen["load_1m"]) == (123456, 1.25)


def test_own_time_is_that_of_the_whole_tree_and_of_children_that_ended(proc: Path) -> None:
    process(proc, 10, "python", "100 20 30 4", children="11 12")
    process(proc, 11, "qemu (kvm) x", "1000 0 0 0", children="13")
    process(proc, 13, "worker", "7 0 0 0")
    process(proc, 99, "stranger", "5000 0 0 0")
    # 12 ended between the listing and the reading.
    assert read_cpu(own_root=10, proc=proc)["own_us"] == (154 + 1000 + 7) * TICK_US


@pytest.mark.parametrize("text", ["", "cpu  1 2 3\n", "nothing known\n"])
def test_malformed_stat_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "stat").write_text(text)
    with pytest.raises(ValueError, match="expected cpu and its times"):
        read_cpu(proc=tmp_path)


def test_watch_ends_with_a_last_look_and_keeps_time(proc: Path) -> None:
    with HostWatch(proc=proc, interval_s=0.01, clock=iter(range(10_000)).__next__) as watch:
        while len(watch.seen) < 3:
            time.sleep(0.005)
    assert [t_s for t_s, _ in watch.seen] == list(range(len(watch.seen)))


def test_watch_on_a_machine_without_proc_sees_nothing_and_ends(tmp_path: Path) -> None:
    with HostWatch(proc=tmp_path, interval_s=0.01) as watch:
        pass
    assert watch.seen == ()


def test_this_machine_can_be_read() -> None:
    before = read_cpu(own_root=os.getpid())
    stop_s = time.process_time() + 0.2
    while time.process_time() < stop_s:
        pass
    after = read_cpu(own_root=os.getpid())
    spent_us = {name: cast(int, after[name]) - cast(int, before[name]) for name in ("own_us", "busy_us")}
    assert spent_us["own_us"] >= 0.15e6
    assert spent_us["busy_us"] > 0
