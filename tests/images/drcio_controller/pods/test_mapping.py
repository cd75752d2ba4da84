"""Where kubelet puts a pod's cgroup."""

from __future__ import annotations

import pytest

from drcio_controller.kube.pod import QosClass
from drcio_controller.pods.mapping import Driver, Hierarchy, find_hierarchy

UID = "12ab-34cd"


@pytest.mark.parametrize(
    ("qos", "expected"),
    [
        (QosClass.GUARANTEED, "kubepods.slice/kubepods-pod12ab_34cd.slice"),
        (
            QosClass.BURSTABLE,
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12ab_34cd.slice",
        ),
        (
            QosClass.BEST_EFFORT,
            "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod12ab_34cd.slice",
        ),
    ],
)
def test_systemd_driver_repeats_the_parents_names(qos: QosClass, expected: str) -> None:
    assert Hierarchy(Driver.SYSTEMD, "kubepods.slice").pod(UID, qos) == expected


@pytest.mark.parametrize(
    ("qos", "expected"),
    [
        (QosClass.GUARANTEED, "kubepods/pod12ab-34cd"),
        (QosClass.BURSTABLE, "kubepods/burstable/pod12ab-34cd"),
        (QosClass.BEST_EFFORT, "kubepods/besteffort/pod12ab-34cd"),
    ],
)
def test_cgroupfs_driver_keeps_names_short(qos: QosClass, expected: str) -> None:
    assert Hierarchy(Driver.CGROUPFS, "kubepods").pod(UID, qos) == expected


def test_kubepods_below_kubelets_own_slice_is_found() -> None:
    path = "kubelet.slice/kubelet-kubepods.slice"

    hierarchy = find_hierarchy(lambda candidate: candidate == path)

    assert hierarchy == Hierarchy(Driver.SYSTEMD, path)
    assert hierarchy.pod(UID, QosClass.BURSTABLE) == (
        f"{path}/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod12ab_34cd.slice"
    )
    assert hierarchy.levels[:3] == ("", "kubelet.slice", path)


def test_node_without_pods_has_no_hierarchy() -> None:
    assert find_hierarchy(lambda candidate: False) is None
