"""Who is protected and who yields: by the order of classes, without a cliff between neighbours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.kube.pod import QosClass
from drcio_controller.law.roles import GAP, Role, roles, split
from drcio_controller.pods.nodepod import NodePod
from drcio_controller.window import Flow


def flow(uid: str, weight: int | None, standing: int | None = None) -> Flow:
    pod = NodePod(
        uid=uid, cgroup_uid=uid, namespace="n", name=uid, qos=QosClass.BURSTABLE,
        weight=weight, standing=standing,
    )  # fmt: skip
    return Flow(pod=pod, ios_per_s=100, bytes_per_s=2**20)


def uids(flows: tuple[Flow, ...]) -> str:
    return "".join(each.pod.uid for each in flows)


@pytest.mark.parametrize(
    ("weights", "protected", "others"),
    [
        ({"h": 1000, "l": 10}, "h", "l"),
        ({"h": 1000, "m": 100, "l": 10}, "h", "ml"),
        ({"m": 100, "l": 10}, "m", "l"),
        ({"h": 1000, "u": None}, "h", "u"),
        ({"h": 1000, "g": 1000}, "", "hg"),
        ({"h": 1000, "g": 1001}, "", "hg"),
        ({"h": 1000, "g": 1001, "l": 10}, "hg", "l"),
        ({"l": 10, "u": None}, "u", "l"),
        ({"m": 100, "u": None, "l": 10}, "mu", "l"),
        ({"a": 800, "b": 401}, "", "ab"),
        ({"a": 800, "b": 400}, "a", "b"),
        ({"u": None}, "", "u"),
        ({}, "", ""),
    ],
)
def test_roles_are_cut_at_the_first_gap_from_the_heaviest(
    weights: dict[str, int | None], protected: str, others: str
) -> None:
    found = split([flow(uid, weight) for uid, weight in weights.items()])

    assert (uids(found[0]), uids(found[1])) == (protected, others)


def test_weight_of_its_own_changes_a_pods_share_and_nobodys_role() -> None:
    """Else one pod's author would decide that all others of the class are to yield to it."""
    flows = [flow("loud", 10_000, standing=1000), flow("h", 1000, standing=1000), flow("l", 10, standing=10)]

    assert roles(flows) == {"loud": Role.PROTECTED, "h": Role.PROTECTED, "l": Role.YIELDING}


def test_low_class_with_a_large_weight_still_yields() -> None:
    assert roles([flow("l", 10_000, standing=10), flow("h", 1000, standing=1000)]) == {
        "l": Role.YIELDING,
        "h": Role.PROTECTED,
    }


def test_without_anybody_lighter_all_are_peers() -> None:
    assert roles([flow("a", 1000), flow("b", 1000)]) == {"a": Role.PEER, "b": Role.PEER}


weights = st.lists(st.none() | st.integers(1, 10_000), min_size=1, max_size=12)


@given(weights)
def test_pods_of_close_weights_are_never_on_two_sides(given_weights: list[int | None]) -> None:
    found = roles([flow(str(index), weight) for index, weight in enumerate(given_weights)])
    counted = [100 if weight is None else weight for weight in given_weights]
    for one, weight in enumerate(counted):
        for other, near in enumerate(counted):
            if weight <= near < GAP * weight:
                assert found[str(one)] is found[str(other)]


@given(weights)
def test_roles_follow_the_order_of_weights(given_weights: list[int | None]) -> None:
    protected, others = split([flow(str(index), weight) for index, weight in enumerate(given_weights)])

    assert len(protected) + len(others) == len(given_weights)
    if protected:
        lightest = min(each.pod.ranked_weight for each in protected)
        assert lightest >= GAP * max(each.pod.ranked_weight for each in others)
