"""Shares follow classes wherever pods sit, in the kernel's own arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.config import KERNEL_DEFAULT_WEIGHT
from drcio_controller.kube.pod import QosClass
from drcio_controller.pods.mapping import Driver, Hierarchy
from drcio_controller.pods.weights import Member, device_weights, shares

HIERARCHY = Hierarchy(Driver.SYSTEMD, "kubepods.slice")


def member(uid: str, qos: QosClass, weight: int | None, *, active: bool = True) -> Member:
    return Member(cgroup=HIERARCHY.pod(uid, qos), qos=qos, weight=weight, active=active)


members = st.lists(
    st.tuples(
        st.sampled_from(QosClass), st.none() | st.sampled_from([1, 10, 100, 1000, 2000]), st.booleans()
    ),
    min_size=1,
    max_size=8,
).map(
    lambda rows: [member(str(index), qos, weight, active=on) for index, (qos, weight, on) in enumerate(rows)]
)


@given(members)
def test_shares_follow_weights_across_all_qos_classes(pods: list[Member]) -> None:
    weights = device_weights(pods, HIERARCHY)
    active = [pod for pod in pods if pod.active]
    total = sum(pod.counted_weight for pod in active)
    level = {weight for path, weight in weights.items() if "-pod" not in path}
    if not weights or max(level, default=0) >= 10_000:
        return  # nothing is managed, or the level was scaled down and rounding decides

    for cgroup, share in shares(pods, weights, HIERARCHY).items():
        own = next(pod.counted_weight for pod in active if pod.cgroup == cgroup)
        assert share == pytest.approx(own / total)


@given(members)
def test_every_weight_is_one_the_kernel_takes(pods: list[Member]) -> None:
    for limit in (1000, 10_000):
        assert all(1 <= weight <= limit for weight in device_weights(pods, HIERARCHY, limit=limit).values())


def test_without_our_slices_a_high_pod_gets_half() -> None:
    pods = [member("high", QosClass.BURSTABLE, 1000), member("low", QosClass.BEST_EFFORT, 10)]

    assert shares(pods, {}, HIERARCHY)[pods[0].cgroup] == pytest.approx(0.5)
    assert shares(pods, device_weights(pods, HIERARCHY), HIERARCHY)[pods[0].cgroup] == pytest.approx(
        1000 / 1010
    )


def test_slice_weighs_its_active_pods_only() -> None:
    pods = [
        member("busy", QosClass.BURSTABLE, 10),
        member("idle", QosClass.BURSTABLE, 1000, active=False),
        member("other", QosClass.BEST_EFFORT, 10),
    ]

    weights = device_weights(pods, HIERARCHY)

    assert weights[HIERARCHY.slices[0]] == weights[HIERARCHY.slices[1]] == 10


def test_slice_of_sleepers_is_ready_for_the_first_to_wake() -> None:
    pods = [member("high", QosClass.BURSTABLE, 1000, active=False), member("low", QosClass.BEST_EFFORT, 10)]

    assert device_weights(pods, HIERARCHY)[HIERARCHY.slices[0]] == 1000


def test_unlabelled_pod_counts_with_the_kernels_default() -> None:
    pods = [member("high", QosClass.GUARANTEED, 1000), member("plain", QosClass.BURSTABLE, None)]

    assert device_weights(pods, HIERARCHY)[HIERARCHY.slices[0]] == KERNEL_DEFAULT_WEIGHT


def test_node_without_managed_pods_is_left_alone() -> None:
    assert device_weights([member("plain", QosClass.BURSTABLE, None)], HIERARCHY) == {}


def test_level_that_exceeds_the_range_is_scaled_alike() -> None:
    pods = [member(str(index), QosClass.BURSTABLE, 1000) for index in range(40)]
    pods.append(member("guaranteed", QosClass.GUARANTEED, 1000))

    weights = device_weights(pods, HIERARCHY)

    assert weights[HIERARCHY.slices[0]] == 10_000
    assert weights[pods[-1].cgroup] == 250
