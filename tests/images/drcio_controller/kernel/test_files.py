"""Kernel files are kept open, and no more of them than a process may have."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from drcio_controller.kernel.files import OpenFiles, raise_files_limit
from drcio_controller.kernel.parse import IoStat
from drcio_controller.kube.pod import QosClass
from drcio_controller.observe import Observer
from drcio_controller.testing.fakenode import DEVICE, FakeNode


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def few_files() -> Iterator[None]:
    """Let this process have so few files open that those of 300 pods are too many, but half of them free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * open_descriptors() + 60, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_pods_beyond_what_can_be_kept_open_are_read_all_the_same(node: FakeNode, few_files: None) -> None:
    cgroups = {f"pod-{index}": node.add_pod(f"pod-{index}", QosClass.BURSTABLE) for index in range(300)}
    for cgroup in cgroups.values():
        (node.roots.cgroup / cgroup / "io.stat").write_text(
            f"{DEVICE} rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"
        )
    observer = Observer(node.roots)

    for look in (0.0, 1.0):
        seen = observer.look(cgroups, [DEVICE], look, pressure_of=cgroups)
        assert seen.malformed == ()
        assert len(seen.pods) == 300
        assert {counters.io[DEVICE] for counters in seen.pods.values()} == {IoStat(1, 2, 3, 4)}
        assert all(counters.io_pressure is not None for counters in seen.pods.values())
    observer.close()


def test_files_that_are_not_kept_are_current(tmp_path: Path) -> None:
    files = OpenFiles(limit=1)
    for name in ("kept", "not-kept"):
        (tmp_path / name).write_text("old")
        assert files.read(str(tmp_path / name)) == "old"
        (tmp_path / name).write_text("new")
        assert files.read(str(tmp_path / name)) == "new"
    files.close()


def test_limit_that_a_container_begins_with_is_raised_as_far_as_it_may_be() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        raise_files_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
