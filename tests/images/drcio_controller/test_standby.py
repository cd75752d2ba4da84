"""An agent that cannot or must not steer its node stays up, says why, and writes nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from drcio_controller.cli import main
from drcio_controller.errors import NodeError
from drcio_controller.standby import NodeLock, Standby, cgroup_standby
from drcio_controller.testing.fakenode import FakeNode
from drcio_controller.testing.server import PodApiServer, serving
from drcio_controller.testing.store import PodStore
from tests.images.drcio_controller.rig import Rig
from tests.waits import eventually


@pytest.fixture
def api() -> Iterator[PodApiServer]:
    with serving(PodStore()) as server:
        yield server


def tree(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["cgroup.controllers", "cgroup.subtree_control"], None),
        (["cgroup.controllers", "blkio/cgroup.procs"], Standby.CGROUP_V1),
        (["blkio/cgroup.procs", "memory/cgroup.procs"], Standby.CGROUP_V1),
        (["systemd/cgroup.procs"], Standby.CGROUP_V1),
        (["blkio/cgroup.procs", "unified/cgroup.controllers"], Standby.HYBRID),
    ],
)
def test_version_of_a_cgroup_tree_is_known_by_its_files(
    tmp_path: Path, files: list[str], expected: Standby | None
) -> None:
    assert cgroup_standby(tree(tmp_path, *files)) is expected


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ([], "no cgroup.controllers and no cgroup.subtree_control,"),
        (["cgroup.controllers"], "no cgroup.subtree_control,"),
        (["cgroup.subtree_control"], "no cgroup.controllers,"),
    ],
)
def test_folder_that_is_no_cgroup_tree_is_refused_with_what_it_lacks_and_a_hint(
    tmp_path: Path, files: list[str], missing: str
) -> None:
    with pytest.raises(NodeError, match="no cgroup tree") as refusal:
        cgroup_standby(tree(tmp_path, *files))

    assert missing in str(refusal.value)
    assert refusal.value.hint


def test_root_that_cannot_be_looked_into_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="File name too long") as refusal:
        cgroup_standby(tmp_path / ("x" * 300))

    assert refusal.value.hint


@pytest.mark.parametrize("extra", [[], ["--dry-run"]])
@pytest.mark.parametrize("files", [[], ["cgroup.controllers"]])
def test_agent_on_a_folder_that_is_no_cgroup_tree_ends_with_one_error(
    tmp_path: Path, files: list[str], extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    tree(tmp_path, *files)
    place = ["--cgroup-root", str(tmp_path), "--state-dir", str(tmp_path / "state")]

    assert main([*place, "--once", "--node-name", "n", "--api-server", "http://127.0.0.1:9", *extra]) == 1

    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"drcio-controller: {tmp_path} is no cgroup tree")
    assert "--cgroup-root" in hint


def test_lock_on_a_file_that_is_not_there_is_an_error_with_a_hint(tmp_path: Path) -> None:
    lock = NodeLock(tmp_path)

    assert not lock.held_by_somebody()
    with pytest.raises(NodeError, match=r"cgroup\.subtree_control cannot be opened: No such file") as refusal:
        lock.acquire()
    assert refusal.value.hint


@pytest.mark.parametrize(
    ("standby", "extra"), [(Standby.CGROUP_V1, []), (Standby.HYBRID, ["unified/cgroup.controllers"])]
)
def test_agent_on_another_cgroup_version_is_up_and_passive_and_says_so_once(
    node: FakeNode,
    api: PodApiServer,
    fast_folder: Path,
    caplog: pytest.LogCaptureFixture,
    standby: Standby,
    extra: list[str],
) -> None:
    (node.roots.cgroup / "cgroup.controllers").unlink()
    tree(node.roots.cgroup, "blkio/cgroup.procs", *extra)
    rig = Rig(node, api, fast_folder)
    rig.start()
    rig.add_pod("a", "high")

    eventually(lambda: f'drcio_agent_standby{{reason="{standby}"}} 1.0' in rig.get("/metrics")[1], "metric")
    assert rig.get("/healthz")[0] == 200
    assert json.loads(rig.get("/readyz")[1])["standby"] == standby
    assert "passive" in json.loads(rig.get("/status")[1])["problems"][0]
    rig.stop()

    assert rig.exit_status == 0
    assert node.writes == []
    (line,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert f"standby reason={standby}" in line.getMessage()
    assert "hint=" in line.getMessage()


@pytest.mark.parametrize("controllers", ["cpuset cpu memory pids\n", "", "iomem cpu\n"])
def test_agent_without_an_io_controller_is_up_and_passive_and_says_so_once(
    node: FakeNode, api: PodApiServer, fast_folder: Path, caplog: pytest.LogCaptureFixture, controllers: str
) -> None:
    """A unified tree whose io controller v1's blkio has, as on a hybrid node, or that was turned off."""
    (node.roots.cgroup / "cgroup.controllers").write_text(controllers)
    rig = Rig(node, api, fast_folder)
    rig.start()
    rig.add_pod("a", "high")

    eventually(lambda: 'drcio_agent_standby{reason="no-io"} 1.0' in rig.get("/metrics")[1], "metric")
    rig.stop()

    assert rig.exit_status == 0
    assert node.writes == []
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "standby reason=no-io" in line
    assert "blkio" in line


def test_second_agent_is_passive_until_the_first_has_gone(
    node: FakeNode, api: PodApiServer, fast_folder: Path, tmp_path: Path
) -> None:
    first, second = Rig(node, api, fast_folder), Rig(node, api, tmp_path)
    second.config.write_text("interval_s: 0.1\nclasses: {high: 7000}\n")
    first.start()
    cgroup = first.add_pod("a", "high")
    first.expect_weight(cgroup, 1000)
    second.start()

    eventually(lambda: 'standby{reason="locked"} 1.0' in second.get("/metrics")[1], "the second is passive")
    first.relabel("a", "low")
    first.expect_weight(cgroup, 10)
    assert 'standby{reason="locked"} 0.0' in first.get("/metrics")[1]
    first.relabel("a", "high")
    first.stop()

    second.expect_weight(cgroup, 7000)
    eventually(lambda: 'standby{reason="locked"} 0.0' in second.get("/metrics")[1], "the second steers")
    second.stop()
    assert node.read(f"{cgroup}/io.weight") == "default 100\n"


def test_passive_agent_that_ends_puts_nothing_back(
    node: FakeNode, api: PodApiServer, fast_folder: Path, tmp_path: Path
) -> None:
    first, second = Rig(node, api, fast_folder), Rig(node, api, tmp_path)
    first.start()
    cgroup = first.add_pod("a", "high")
    first.expect_weight(cgroup, 1000)
    second.start()
    eventually(lambda: bool(json.loads(second.get("/status")[1])["standby"]), "passive")
    second.stop()

    assert node.read(f"{cgroup}/io.weight") == "default 1000\n"
    first.stop()


def test_second_agent_on_the_same_port_is_passive_and_says_so(
    node: FakeNode, api: PodApiServer, fast_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two releases have one manifest and the host's network: the second finds its port taken as well."""
    first = Rig(node, api, fast_folder)
    first.start()
    cgroup = first.add_pod("a", "high")
    first.expect_weight(cgroup, 1000)
    assert first.agent.port is not None
    second = Rig(node, api, tmp_path, listen=("127.0.0.1", first.agent.port))
    second.start(listening=False)

    eventually(lambda: second.agent._status.standby == Standby.LOCKED, "passive")
    first.stop()
    second.expect_weight(cgroup, 1000)
    eventually(lambda: second.agent.port is not None, "listening")
    assert json.loads(second.get("/readyz")[1])["ready"]
    second.stop()

    assert second.exit_status == 0
    told = [record.getMessage() for record in caplog.records if "not_listening" in record.getMessage()]
    assert len(told) == 1
    assert "hint=" in told[0]


def test_lock_ends_with_who_holds_it(node: FakeNode) -> None:
    first, second = NodeLock(node.roots.cgroup), NodeLock(node.roots.cgroup)

    assert first.acquire()
    assert not second.acquire()
    assert second.held_by_somebody()
    first.release()
    assert not second.held_by_somebody()
    assert second.acquire()
    second.release()
