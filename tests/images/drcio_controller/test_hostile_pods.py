"""Twenty pods whose authors want more than their own share: none gets it, through the whole agent."""

from __future__ import annotations

import socket
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from drcio_controller.agent import render_once
from drcio_controller.fakenode import FakeNode
from drcio_controller.kube.jsontypes import Json, JsonObject
from drcio_controller.kube.pod import QosClass
from drcio_controller.testing.server import serving
from drcio_controller.testing.store import PodStore, Resource
from tests.images.drcio_controller.rig import Rig, eventually

VICTIM: Final = "6f9a2f6e-4c1b-4a55-9d0c-0a52e9f0f3a1"
STATIC: Final = "d41d8cd98f00b204e9800998ecf8427e"
STATIC_CONTAINER: Final = "a" * 64
POD_IP: Final = "10.0.0.66"
NODE_IP: Final = "10.0.0.1"

Mutation = Callable[[JsonObject], None]


def annotated(**annotations: str) -> Mutation:
    """Return what puts annotations onto a pod; `__` in a keyword stands for the slash of its key."""

    def mutate(document: JsonObject) -> None:
        at(document, "metadata", "annotations").update(annotations)

    return mutate


def at(document: JsonObject, *path: str) -> JsonObject:
    here = document
    for key in path:
        inner = here.setdefault(key, {})
        assert isinstance(inner, dict)
        here = inner
    return here


def mirror(uid: str, *, owner: str = "Node", source: str = "file") -> Mutation:
    """Return what gives a pod every mark of a static pod's mirror."""

    def mutate(document: JsonObject) -> None:
        annotated(
            **{
                "kubernetes.io/config.hash": uid,
                "kubernetes.io/config.mirror": uid,
                "kubernetes.io/config.source": source,
            }
        )(document)
        at(document, "metadata")["ownerReferences"] = [
            {"apiVersion": "v1", "kind": owner, "name": "node-1", "uid": "1", "controller": True}
        ]

    return mutate


def asks(**changes: str) -> Mutation:
    """Return what makes the agent ask a pod for its latency, somewhere else than it should."""
    asked = {"drcio.io/latency-target": "p95<1ms", "prometheus.io/port": "8080"}
    return annotated(**(asked | {f"prometheus.io/{key}": value for key, value in changes.items()}))


def addressed(address: str) -> Mutation:
    def mutate(document: JsonObject) -> None:
        asks()(document)
        at(document, "status")["podIP"] = address

    return mutate


def labelled(**labels: Json) -> Mutation:
    def mutate(document: JsonObject) -> None:
        at(document, "metadata", "labels").update(labels)

    return mutate


def on_the_hosts_network(document: JsonObject) -> None:
    asks()(document)
    at(document, "spec")["hostNetwork"] = True
    at(document, "status")["podIP"] = NODE_IP


def crowded(document: JsonObject) -> None:
    crowd: JsonObject = {f"drcio.io/{index}": "x" * 60 for index in range(5000)}
    at(document, "metadata", "labels").update(crowd)
    at(document, "metadata", "annotations").update(crowd)


def of_many_ports(document: JsonObject) -> None:
    container: JsonObject = {
        "name": "main",
        "ports": [{"containerPort": index % 65_536, "name": "x" * 15} for index in range(20_000)],
    }
    at(document, "spec")["containers"] = [container]


def of_many_containers(document: JsonObject) -> None:
    at(document, "status")["containerStatuses"] = [
        {"name": f"c{index}", "containerID": "containerd://../../../" + "x" * 5000} for index in range(200)
    ]


HOSTILE: Final[dict[str, Mutation]] = {
    "config hash of another pod": annotated(**{"kubernetes.io/config.hash": VICTIM}),
    "whole mirror of another pod": mirror(VICTIM),
    "mirror of a static pod whose containers are another's": mirror(STATIC),
    "mirror that a ReplicaSet owns": mirror(STATIC, owner="ReplicaSet"),
    "mirror from the API": mirror(STATIC, source="api"),
    "mirror of a path out of the tree": mirror("../../system.slice"),
    "port with a host in it": asks(port="80@169.254.169.254:80"),
    "port of kubelet, not its own": asks(port="10250"),
    "path that ends the request": asks(path="/\r\nHost: 169.254.169.254\r\n\r\nGET /"),
    "scheme that reads files": asks(scheme="file"),
    "address of the metadata service": addressed("169.254.169.254"),
    "address of the metadata service in IPv6": addressed("::ffff:a9fe:a9fe"),
    "address of loopback in decimal": addressed("2130706433"),
    "address that is a name": addressed("instance-data.ec2.internal"),
    "the host's network": on_the_hosts_network,
    "weight of 300,000 digits": annotated(**{"drcio.io/weight": "000001" + "9" * 300_000}),
    "target without an end": annotated(**{"drcio.io/latency-target": "p95<" + "9" * 250_000 + "s"}),
    "five thousand labels and annotations": crowded,
    "twenty thousand ports": of_many_ports,
    "container ids out of the tree": of_many_containers,
    "class with line breaks": labelled(**{"drcio.io/priority": "high\nlevel=ERROR at=root forged\n" * 50}),
    "labels that are no text": labelled(**{"drcio.io/priority": ["high"], "drcio.io/x": {"a": 1}}),
}


def pod_of(name: str, uid: str, priority: str) -> JsonObject:
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid,
            "labels": {"drcio.io/priority": priority},
            "annotations": {},
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "main", "ports": [{"containerPort": 8080}]}]},
        "status": {
            "phase": "Running",
            "qosClass": "Burstable",
            "podIP": POD_IP,
            "hostIP": NODE_IP,
            "containerStatuses": [
                {"name": "main", "containerID": "containerd://" + "b" * 64, "state": {"running": {}}}
            ],
        },
    }


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Let no fetch leave, and remember where it would have gone."""
    seen: list[tuple[str, int]] = []

    def refuse(address: tuple[str, int], timeout: float | None = None) -> socket.socket:
        seen.append(address)
        raise ConnectionRefusedError(address)

    monkeypatch.setattr("drcio_controller.scrape.socket.create_connection", refuse)
    return seen


@pytest.fixture
def rig(node: FakeNode, fast_folder: Path) -> Iterator[Rig]:
    with serving(PodStore()) as api:
        made = Rig(node, api, fast_folder)
        made.start()
        yield made
        made.stop()


def test_table_is_of_twenty_and_more() -> None:
    assert len(HOSTILE) >= 20


@pytest.mark.parametrize("mutate", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pod_gets_nothing_but_its_own_share(
    rig: Rig, mutate: Mutation, connections: list[tuple[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    victim, static = (rig.node.add_pod(uid, QosClass.BURSTABLE) for uid in (VICTIM, STATIC))
    rig.node.add_container(static, STATIC_CONTAINER)
    rig.node.add_container(victim, "c" * 64)
    store = rig.api.store
    store.create(Resource.PODS, "shop", pod_of("victim", VICTIM, "high"))
    rig.expect_weight(victim, 1000)
    hostile = pod_of("hostile", "11111111-0000-4000-8000-000000000000", "low")
    mutate(hostile)
    own = rig.node.add_pod("11111111-0000-4000-8000-000000000000", QosClass.BURSTABLE)
    outside = {path: path.read_text() for path in rig.node.roots.cgroup.glob("*.weight")}

    store.create(Resource.PODS, "shop", hostile)
    bystander = rig.add_pod("bystander", "medium")
    rig.expect_weight(bystander, 100)
    for index in range(10):
        store.patch(Resource.PODS, "shop", "hostile", {"metadata": {"annotations": {"turn": str(index)}}})
    rig.relabel("bystander", "low")
    rig.expect_weight(bystander, 10)

    assert rig.node.read(f"{victim}/io.weight") == "default 1000\n"
    assert rig.node.read(f"{static}/io.weight") == "default 100\n"
    assert rig.node.read(f"{own}/io.weight") in ("default 10\n", "default 100\n")
    assert {path: path.read_text() for path in outside} == outside
    assert {address for address, _ in connections} <= {POD_IP}
    assert {port for _, port in connections} <= {8080}
    told = [record.getMessage() for record in caplog.records if "hostile" in record.getMessage()]
    assert len(told) <= 10
    assert all("\n" not in line and len(line) < 2000 for line in told)
    assert rig.agent._tally.tick_errors == 0


def test_labels_that_change_all_the_time_fill_no_log(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.add_pod("a", "low")
    for index in range(300):
        rig.relabel("a", f"nonsense-{index}")
    rig.relabel("a", "high")
    eventually(lambda: "class high" in render_once(rig.agent._status, dry_run=False), "the last label")

    assert len([record for record in caplog.records if "pod_problem" in record.getMessage()]) <= 5


def test_hundred_pods_of_a_megabyte_each_are_not_kept(rig: Rig) -> None:
    rig.add_pod("first", "low")
    eventually(lambda: bool(rig.agent._status.pods), "the first pod")
    tracemalloc.start()
    for index in range(100):
        document = pod_of(f"big-{index}", f"big-{index}", "low")
        crowded(document)
        rig.api.store.create(Resource.PODS, "shop", document)
    eventually(lambda: len(rig.agent._status.pods) == 101, "all pods")
    informer = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(True, "*/drcio_controller/kube/*"), tracemalloc.Filter(True, "*/json/*")]
    )
    tracemalloc.stop()

    assert sum(one.size for one in informer.statistics("filename")) < 16 << 20
