"""The commands in the agent's own container: they look where the agent looks, and name what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest

from drcio_controller.cli import main
from drcio_controller.standby import NodeLock
from drcio_controller.testing.fakenode import FakeNode
from drcio_controller.testing.server import PodApiServer, serving
from drcio_controller.testing.store import PodStore
from tests.images.drcio_controller.rig import Rig
from tests.waits import eventually

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def api() -> Iterator[PodApiServer]:
    with serving(PodStore()) as server:
        yield server


@pytest.fixture
def rig(node: FakeNode, api: PodApiServer, fast_folder: Path) -> Iterator[Rig]:
    made = Rig(node, api, fast_folder)
    yield made
    if made.started:
        made.stop()


@pytest.fixture
def run(rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command as `kubectl exec` does: with the container's environment."""

    def execute(*command: str) -> tuple[int, str]:
        for name, value in rig.container_environment().items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        status = main(list(command))
        return status, capsys.readouterr().out

    return execute


def busy(rig: Rig) -> None:
    """Let a managed pod do I/O until the agent has an engine on its device."""
    cgroup = rig.add_pod("a", "high")

    def acts() -> bool:
        rig.node.do_io(cgroup, read_bytes=4096)
        devices = json.loads(rig.get("/status")[1])["devices"]
        return bool(devices) and devices[0]["acting"]

    eventually(acts, "an engine on the device")


def bad(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("BAD")]


def test_doctor_of_a_node_in_order_finds_nothing_wrong(rig: Rig, run: Run) -> None:
    rig.start()
    busy(rig)

    status, text = run("doctor")

    assert (status, bad(text)) == (0, [])
    assert f"mounted at {rig.node.roots.cgroup}" in text
    assert "answers, and everything holds" in text


def plant_refused_configuration(rig: Rig) -> None:
    rig.start()
    rig.config.write_text("polcy: drcio")


def plant_dead_agent(rig: Rig) -> None:
    del rig


def plant_second_agent(rig: Rig) -> None:
    other = NodeLock(rig.node.roots.cgroup)
    assert other.acquire()
    rig.on_stop.append(other.release)
    rig.start()
    eventually(lambda: bool(json.loads(rig.get("/status")[1])["standby"]), "standing by")


def plant_inert_weight(rig: Rig) -> None:
    rig.config.write_text("interval_s: 0.1\nengine: none\n")
    rig.start()
    cgroup = rig.add_pod("a", "high")

    def inert() -> bool:
        rig.node.do_io(cgroup, read_bytes=4096)
        return bool(json.loads(rig.get("/readyz")[1])["inert"])

    eventually(inert, "inert")


def plant_contested_weight(rig: Rig) -> None:
    rig.start()
    cgroup = rig.add_pod("a", "high")
    rig.expect_weight(cgroup, 1000)

    def contested() -> bool:
        rig.node.write(f"{rig.node.roots.cgroup}/{cgroup}/io.weight", "default 42")
        return any("42" in problem for problem in json.loads(rig.get("/status")[1])["problems"])

    eventually(contested, "a contest")


def plant_state_folder_that_cannot_be_written(rig: Rig) -> None:
    rig.start()
    rig.state_dir = rig.folder / "absent"


def plant_kernel_without_io(rig: Rig) -> None:
    rig.start()
    (rig.node.roots.cgroup / "cgroup.controllers").write_text("cpu memory\n")


def plant_unreachable_api_server(rig: Rig) -> None:
    rig.api.down()
    rig.start()


FAULTS: Final = {
    "a refused configuration": (plant_refused_configuration, "unknown key 'polcy'"),
    "an agent that does not answer": (plant_dead_agent, "does not answer"),
    "a second agent": (plant_second_agent, "another drcio-controller steers this node"),
    "a weight without effect": (plant_inert_weight, "its weight is inert on"),
    "somebody who keeps writing": (plant_contested_weight, "somebody else keeps writing '42'"),
    "a state folder that is not there": (plant_state_folder_that_cannot_be_written, "cannot be written"),
    "a kernel without the io controller": (plant_kernel_without_io, "the kernel does not offer it"),
    "an API server that does not answer": (plant_unreachable_api_server, "does not know the node's pods"),
}


@pytest.mark.parametrize(("plant", "named"), FAULTS.values(), ids=FAULTS)
def test_doctor_names_each_planted_fault_and_fails(
    rig: Rig, run: Run, plant: Callable[[Rig], None], named: str
) -> None:
    plant(rig)

    status, text = run("doctor")

    assert status == 1
    assert any(named in line for line in bad(text)), text


def test_doctor_names_a_tree_that_is_mounted_read_only(
    rig: Rig, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mount itself is the twin's to show; a process that may write everything is shown its flag."""
    rig.start()
    eventually(lambda: json.loads(rig.get("/readyz")[1])["ready"] is True, "ready")
    real = os.statvfs

    def read_only(path: Path) -> object:
        found = real(path)
        return SimpleNamespace(f_flag=found.f_flag | os.ST_RDONLY)

    monkeypatch.setattr("drcio_controller.doctor.os.statvfs", read_only)
    status, text = run("doctor")

    assert status == 1
    assert any("read-only: no weight can be written" in line for line in bad(text))


def test_status_and_top_show_the_device_and_who_has_it(rig: Rig, run: Run) -> None:
    rig.start()
    busy(rig)

    status, text = run("status")
    again, repeated = run("top", "--count", "2", "--interval", "0.1")

    assert status == again == 0
    assert "capacity  3000 IOPS, 125.0 MiB/s (ebs)" in text
    assert "acts      yes, by iocost" in text
    assert "shop/pod-a" in text
    assert repeated.count("nvme1n1 (259:3)") == 2
    assert json.loads(run("status", "--json")[1])["devices"][0]["name"] == "nvme1n1"
