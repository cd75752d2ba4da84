"""Who took the node's CPU, from two looks at a made-up tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_cluster.node.cpu import KERNEL, look, spent

UID = "11111111-2222-3333-4444-555555555555"
POD = f"kubepods/burstable/pod{UID}"
SYSTEMD_POD = f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice"
IDLE = "idle.slice"


def process(proc: Path, pid: int, name: str, group: str, cpu_s: float, *, flags: int = 0) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True, exist_ok=True)
    before = f"{pid} ({name}) S 1 1 1 0 -1 {flags} 0 0 0 0"
    times = f"{round(cpu_s * 100)} 0"
    (folder / "stat").write_text(f"{before} {times} 0 0 20 0 1 0 {pid}77 0 0\n")
    (folder / "cgroup").write_text(f"0::/{group}\n")


def group(root: Path, path: str, cpu_s: float) -> None:
    (root / path).mkdir(parents=True, exist_ok=True)
    (root / path / "cpu.stat").write_text(f"usage_usec {round(cpu_s * 1e6)}\nuser_usec 0\n")


@pytest.mark.parametrize("pod", [POD, SYSTEMD_POD], ids=["cgroupfs", "systemd"])
def test_time_is_told_by_pod_program_and_kernel(tmp_path: Path, pod: str) -> None:
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    top = pod.partition("/")[0]
    (proc / "self").mkdir(parents=True)

    def at(second: float) -> None:
        process(proc, 10, "ksoftirqd/0", "", second * 0.07, flags=0x00200000)
        process(proc, 11, "volume (1)", "", second * 0.10)
        process(proc, 12, "kubelet", "system.slice", second * 0.04)
        process(proc, 13, "python", f"{pod}/{'a' * 64}", second * 0.30)
        process(proc, 14, "python", "idle.slice", second * 0.40)
        group(root, "system.slice", second * 0.06)
        group(root, IDLE, second * 0.40)
        group(root, top, second * 0.35)
        group(root, pod, second * 0.30)

    at(100)
    before = look(100.0, proc=proc, cgroup_root=root)
    at(200)
    taken = spent(before, look(200.0, proc=proc, cgroup_root=root), {UID: "service"}, IDLE)
    assert taken.seconds == 100
    assert taken.cpu_s == pytest.approx(
        {
            "service": 30,
            "volume (1)": 10,
            KERNEL: 7,
            f"ended in {top}": 5,
            "kubelet": 4,
            "ended in system.slice": 2,
        }
    )
    assert next(iter(taken.cpu_s)) == "service"
    assert taken.told(at_least=0.045) == (
        f"58% in 100.0 s: service 30%, volume (1) 10%, {KERNEL} 7%, ended in {top} 5%, others 6%"
    )


def test_program_that_took_a_number_over_starts_from_nothing(tmp_path: Path) -> None:
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    root.mkdir()
    process(proc, 10, "old", "", 50)
    before = look(0.0, proc=proc, cgroup_root=root)
    process(proc, 10, "new", "", 3)
    (proc / "10" / "stat").write_text((proc / "10" / "stat").read_text().replace("1077", "9999"))
    assert spent(before, look(10.0, proc=proc, cgroup_root=root), {}, IDLE).cpu_s == {"new": 3}
