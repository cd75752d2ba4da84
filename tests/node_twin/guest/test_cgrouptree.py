"""What is set in each pod cgroup, while pods come and go."""

import threading
from pathlib import Path

from node_twin.guest.cgrouptree import knobs_of_pods


def _pod(root: Path, name: str) -> Path:
    folder = root / "kubepods.slice" / name
    folder.mkdir(parents=True)
    (folder / "io.weight").write_text("default 100\n")
    return folder


def test_knobs_are_read_by_path(tmp_path: Path) -> None:
    pod = _pod(tmp_path, "kubepods-pod1.slice")
    (pod / "cpu.stat").write_text("usage_usec 1\n")
    (tmp_path / "system.slice").mkdir()
    assert knobs_of_pods(tmp_path) == {
        "kubepods.slice": {},
        "kubepods.slice/kubepods-pod1.slice": {"io.weight": "default 100"},
    }


def test_pods_that_go_away_meanwhile_are_left_out(tmp_path: Path) -> None:
    _pod(tmp_path, "kubepods-stays.slice")
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            containers = [
                tmp_path / "kubepods.slice/kubepods-goes.slice" / f"cri-{n}.scope" for n in range(8)
            ]
            for folder in containers:
                folder.mkdir(parents=True)
            for folder in containers:
                folder.rmdir()
            containers[0].parent.rmdir()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(300):
            assert "kubepods.slice/kubepods-stays.slice" in knobs_of_pods(tmp_path)
    finally:
        ended.set()
        other.join()
