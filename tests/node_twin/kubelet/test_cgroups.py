"""Names and knobs as kubelet and containerd make them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.kube.pod import QosClass
from node_twin.kubelet.cgroups import (
    CgroupTree,
    Knobs,
    container_knobs,
    container_scope,
    cpu_shares,
    cpu_weight,
    oom_score_adj,
    pod_knobs,
    pod_slice,
    slice_weights,
)
from node_twin.kubelet.manifest import Resources, parse_manifest
from tests.node_twin.kubelet.manifests import container, pod, resources


@pytest.mark.parametrize(
    ("qos", "path"),
    [
        (QosClass.GUARANTEED, "kubepods.slice/kubepods-poda_b.slice"),
        (QosClass.BURSTABLE, "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_b.slice"),
        (QosClass.BEST_EFFORT, "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-poda_b.slice"),
    ],
)
def test_pod_slice(qos: QosClass, path: str) -> None:
    assert pod_slice(qos, "a-b") == path


def test_container_scope() -> None:
    assert container_scope("00ff") == "cri-containerd-00ff.scope"


@pytest.mark.parametrize(("milli", "weight"), [(0, 1), (100, 4), (1000, 39), (2000, 79), (256_000, 9999 + 1)])
def test_cpu_weight_of_a_request(milli: int, weight: int) -> None:
    assert cpu_weight(cpu_shares(milli)) == weight


@given(st.integers(0, 10**7))
def test_cpu_weight_is_always_one_that_the_kernel_takes(milli: int) -> None:
    assert 1 <= cpu_weight(cpu_shares(milli)) <= 10_000


def test_container_gets_its_own_limits() -> None:
    knobs = container_knobs(Resources(cpu_limit_milli=500, memory_limit_bytes=1 << 20))
    assert knobs.files() == {
        "cpu.weight": "1",
        "cpu.max": "50000 100000",
        "memory.max": "1048576",
        "memory.oom.group": "1",
        "memory.swap.max": "0",
    }


def test_pod_is_limited_only_when_all_its_containers_are() -> None:
    limited = container("a", resources=resources(None, {"cpu": 1, "memory": "1Mi"}))
    half = parse_manifest(
        pod(limited, container("b", resources=resources({"cpu": "500m"}, {"memory": "1Mi"})))
    )
    assert pod_knobs(half).files() == {
        "cpu.weight": str(cpu_weight(cpu_shares(1500))),
        "memory.max": "2097152",
    }


def test_burstable_slice_weighs_what_its_pods_request() -> None:
    half = parse_manifest(pod(container(resources=resources({"cpu": "500m"}))))
    weights = slice_weights([(QosClass.BURSTABLE, half)] * 2 + [(QosClass.GUARANTEED, half)], node_cpus=2)
    assert list(weights.values()) == [79, 39, 1]


@pytest.mark.parametrize(
    ("qos", "request_bytes", "score"),
    [
        (QosClass.GUARANTEED, 0, -997),
        (QosClass.BEST_EFFORT, 0, 1000),
        (QosClass.BURSTABLE, 0, 999),
        (QosClass.BURSTABLE, 500, 500),
        (QosClass.BURSTABLE, 1000, 3),
    ],
)
def test_oom_score(qos: QosClass, request_bytes: int, score: int) -> None:
    assert oom_score_adj(qos, Resources(memory_request_bytes=request_bytes), 1000) == score


def test_only_controllers_that_are_there_are_delegated(tmp_path: Path) -> None:
    tree = CgroupTree(tmp_path)
    (tmp_path / "cgroup.controllers").write_text("cpu memory hugetlb misc\n")
    (tmp_path / "cgroup.subtree_control").touch()
    tree.delegate(tmp_path)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory"


def test_missing_knob_is_not_made_into_a_file(tmp_path: Path) -> None:
    CgroupTree(tmp_path).create("x.slice", Knobs(cpu_weight=5), delegate=True)
    assert list((tmp_path / "x.slice").iterdir()) == []


def test_tree_is_removed_from_the_leaves_up(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    assert CgroupTree(tmp_path).remove("a")
    assert not (tmp_path / "a").exists()


def test_cgroup_that_is_busy_is_left_for_later(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/stuck").touch()
    assert not CgroupTree(tmp_path).remove("a")
