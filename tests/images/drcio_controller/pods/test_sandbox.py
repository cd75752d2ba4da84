"""A Kata pod's I/O is done outside of its own cgroup, and is its own all the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drcio_controller.config import Config, PolicyName, VolumeProfile
from drcio_controller.kube.pod import QosClass
from drcio_controller.pods.sandbox import Sandboxes, levels_above
from drcio_controller.pods.weights import overhead_weights
from drcio_controller.testing.fakenode import DEVICE, FakeNode
from tests.images.drcio_controller.conftest import MakePod
from tests.images.drcio_controller.test_loop import Rig, everything

POD = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podab.slice"


def test_overhead_is_found_below_the_pods_path_and_by_the_runtimes_own_form(tmp_path: Path) -> None:
    for path in (POD, "kubepods-burstable-podcd.slice:cri-containerd:0123", "unrelated"):
        (tmp_path / "kata_overhead" / path).mkdir(parents=True)
    other = POD.replace("podab", "podcd")

    assert Sandboxes(tmp_path).overhead({"a": POD, "c": other, "x": "kubepods.slice/x"}) == {
        "a": (f"kata_overhead/{POD}",),
        "c": ("kata_overhead/kubepods-burstable-podcd.slice:cri-containerd:0123",),
    }


ID = "0123456789abcdef" * 4
OTHER_ID = "fedcba9876543210" * 4


@pytest.mark.parametrize(
    "sandbox",
    [
        f"{POD}/kata_{ID}",
        f"{POD}/cri-containerd-{ID}.scope",
        f"{POD}/crio-{ID}.scope",
        f"{POD}/{ID}",
        f"{POD.rpartition('/')[2]}:cri-containerd:{ID}",
    ],
)
def test_overhead_that_is_named_after_the_sandbox_is_its_pods(tmp_path: Path, sandbox: str) -> None:
    """Kata's Go runtime: /kata_overhead/ID, and the pod is the one that has a cgroup of the sandbox."""
    other = POD.replace("podab", "podabc")
    for path in (sandbox, f"kata_overhead/{ID}", f"kata_overhead/{OTHER_ID}", f"{other}/kata_{ID[:-1]}"):
        (tmp_path / path).mkdir(parents=True)
    sandboxes = Sandboxes(tmp_path)

    for _ in range(2):
        assert sandboxes.overhead({"a": POD, "c": other}) == {"a": (f"kata_overhead/{ID}",)}
    (tmp_path / other / f"kata_{OTHER_ID}").mkdir()
    assert sandboxes.overhead({"c": other}) == {"c": (f"kata_overhead/{OTHER_ID}",)}
    assert sandboxes.overhead({}) == {}


def test_overhead_that_a_sandbox_left_behind_costs_no_look_at_every_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    scandir = os.scandir
    (tmp_path / "kata_overhead" / ID).mkdir(parents=True)

    def noted(path: str) -> object:
        looked.append(str(path))
        return scandir(path)

    monkeypatch.setattr("drcio_controller.pods.sandbox.os.scandir", noted)
    sandboxes = Sandboxes(tmp_path)
    cgroups = {str(index): POD.replace("podab", f"pod{index}") for index in range(100)}
    sandboxes.overhead(cgroups)
    looked.clear()
    for _ in range(10):
        assert sandboxes.overhead(cgroups) == {}

    assert len(looked) == 10


def test_node_without_kata_has_none(tmp_path: Path) -> None:
    assert Sandboxes(tmp_path).overhead({"a": POD}) == {}


def test_levels_weigh_what_is_below_them_and_all_other_pods_beside() -> None:
    pods = [(levels_above(f"kata_overhead/q/{name}"), weight, on) for name, weight, on in (
        ("a", 1000, True), ("b", 10, True), ("idle", 500, False)
    )]  # fmt: skip

    assert overhead_weights(pods, 110, "kubepods.slice") == {
        "kata_overhead": 1010,
        "kata_overhead/q": 1010,
        "kubepods.slice": 110,
    }
    assert overhead_weights([], 110, "kubepods.slice") == {}
    assert max(overhead_weights(pods, 110, "kubepods.slice", limit=100).values()) == 100


def test_weight_limit_and_counters_of_a_kata_pod_are_where_its_io_is(
    node: FakeNode, make_pod: MakePod
) -> None:
    volume = VolumeProfile(iops=3000, mib_s=125)
    rig = Rig(node, Config(policy=PolicyName.DRCIO, volumes=(volume,)))
    high = rig.add(make_pod("h", "high"))
    kata = rig.add(make_pod("k", "low", QosClass.BEST_EFFORT))
    overhead = node.add_overhead(kata)
    before = everything(node)
    for _ in range(4):
        node.do_io(overhead, read_bytes=1 << 20, usage_us=100_000)
        rig.tick("h")

    assert node.read(f"{overhead}/io.weight") == "default 10\n"
    # In the ratio of the share that the protected have (3 to 1), and above what is in no pod (100).
    assert f"{DEVICE} 100\n" in node.read("kata_overhead/io.weight")
    assert f"{DEVICE} 300\n" in node.read("kubepods.slice/io.weight")
    (pod,) = [pod for pod in rig.status().pods if pod.uid == "k"]
    assert pod.devices[0].bytes_read == 4 << 20
    assert pod.devices[0].role == "yielding"

    rig.controller.set_config(Config(policy=PolicyName.IOMAX, iomax_percent=10, volumes=(volume,)))
    for _ in range(3):
        node.do_io(overhead, read_bytes=1 << 20)
        rig.tick("h")
    assert f"rbps={round(volume.bytes_per_s / 10)}" in node.read(f"{overhead}/io.max")
    assert node.read(f"{high}/io.max") == ""

    rig.controller.close()
    assert everything(node) == before
