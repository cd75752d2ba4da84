"""Who runs the node's programs: as far as it shows outside of a guest."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cluster.node.supervisor import Children, units
from tests.waits import wait_until

COMMANDS = {"kubelet": ["sh", "-c", "echo began $$; exec sleep 60"], "brief": ["true"]}


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    """A folder stands for the cgroup tree: what is written there is a file like any."""
    made = Children(tmp_path, tmp_path)
    made.begin(COMMANDS)
    yield made
    made.stop()


def test_programs_are_begun_in_a_slice_that_weighs_little_to_pods(children: Children, tmp_path: Path) -> None:
    children.start("kubelet")
    assert (tmp_path / "system.slice" / "cgroup.procs").read_text() == "0"
    assert (tmp_path / "system.slice" / "cpu.weight").read_text() == "25"
    assert wait_until(lambda: "began" in (tmp_path / "kubelet.log").read_text(), within_s=10)


def test_restarted_program_is_another_and_has_not_ended(children: Children, tmp_path: Path) -> None:
    children.start("kubelet")
    assert wait_until(lambda: "began" in (tmp_path / "kubelet.log").read_text(), within_s=10)
    children.restart("kubelet")
    log = tmp_path / "kubelet.log"
    assert wait_until(lambda: len(set(log.read_text().splitlines())) == 2, within_s=10)
    assert children.ended() is None


def test_program_that_ends_is_named(children: Children) -> None:
    children.start("kubelet")
    children.start("brief")
    assert wait_until(lambda: children.ended() == "brief", within_s=10)


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown setting would be passed over in silence, in a guest."""
    monkeypatch.setenv("SYSTEMD_UNIT_PATH", str(tmp_path))
    made = units({"kubelet": ["/bin/true", "--with=a space"]}, Path("/run/logs"), Path("/run/ended"))
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    command = ["systemd-analyze", "--man=no", "verify", *(str(tmp_path / name) for name in made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
