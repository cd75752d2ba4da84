"""A cgroup belongs to the pod that kubelet made it for, whatever other pods say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drcio_controller.kube.pod import Pod, QosClass
from drcio_controller.pods.identity import cgroup_uids, unproven

ID = "0123456789abcdef" * 4
HASH = "d41d8cd98f00b204"


def pod(uid: str, *, static_hash: str = "", container_id: str = ID) -> Pod:
    return Pod(
        uid=uid,
        namespace="n",
        name=uid,
        labels={},
        annotations={},
        qos_class=QosClass.BURSTABLE,
        phase="Running",
        pod_ip="",
        container_ids=(container_id,),
        static_hash=static_hash,
    )


def resolved(*pods: Pod, cgroups: dict[str, list[str]]) -> dict[str, str]:
    return cgroup_uids({each.uid: each for each in pods}, lambda _, uid: cgroups.get(uid, []))


@pytest.mark.parametrize("name", [f"cri-containerd-{ID}.scope", f"crio-{ID}.scope", ID, f"docker-{ID}.scope"])
def test_static_pods_cgroup_is_known_by_a_container_that_kubelet_reported(name: str) -> None:
    assert resolved(pod("mirror", static_hash=HASH), cgroups={HASH: ["other", name]}) == {"mirror": HASH}


@pytest.mark.parametrize("names", [[], ["cri-containerd-ffff.scope"], [f"cri-containerd-{ID[:-1]}.scope"]])
def test_claim_without_a_container_in_the_cgroup_is_not_believed(names: list[str]) -> None:
    claim = pod("mirror", static_hash=HASH)

    uids = resolved(claim, cgroups={HASH: names})

    assert uids == {"mirror": "mirror"}
    assert unproven({"mirror": claim}, uids) == ["mirror"]


def test_uid_of_a_living_pod_is_nobody_elses() -> None:
    victim, thief = pod("victim"), pod("thief", static_hash="victim")

    uids = resolved(victim, thief, cgroups={"victim": [f"cri-containerd-{ID}.scope"]})

    assert uids == {"victim": "victim", "thief": "thief"}


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("spelled", ["6f9a-4c1b", "6f9a_4c1b"])
def test_uid_of_a_living_pod_is_nobody_elses_however_it_is_spelled(spelled: str, order: int) -> None:
    """systemd's name of a pod's cgroup is the same for a dash and an underscore."""
    pods = [pod("6f9a-4c1b"), pod("thief", static_hash=spelled)][::order]

    assert resolved(*pods, cgroups={spelled: [ID]}) == {"6f9a-4c1b": "6f9a-4c1b", "thief": "thief"}


def test_of_two_spellings_of_one_hash_neither_is_believed() -> None:
    pods = pod("one", static_hash="a-b"), pod("two", static_hash="a_b")

    assert resolved(*pods, cgroups={"a-b": [ID], "a_b": [ID]}) == {"one": "one", "two": "two"}


def test_of_two_mirrors_of_one_hash_the_one_whose_container_is_there_has_it() -> None:
    real, false = pod("real", static_hash=HASH), pod("false", static_hash=HASH, container_id="f" * 64)

    uids = resolved(real, false, cgroups={HASH: [f"cri-containerd-{ID}.scope"]})

    assert uids == {"real": HASH, "false": "false"}


def test_of_two_mirrors_that_prove_the_same_neither_is_believed() -> None:
    one = pod("one", static_hash=HASH)

    uids = resolved(one, replace(one, uid="two"), cgroups={HASH: [ID]})

    assert uids == {"one": "one", "two": "two"}


@pytest.mark.parametrize("container_id", ["", "scope", "a"])
def test_container_id_too_short_to_be_one_proves_nothing(container_id: str) -> None:
    claim = pod("mirror", static_hash=HASH, container_id=container_id)

    assert resolved(claim, cgroups={HASH: [f"cri-{container_id}.scope", container_id]}) == {
        "mirror": "mirror"
    }
