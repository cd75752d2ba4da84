"""The controller on a real kernel: its knobs act, and however it ends they are put back."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import pytest

from experiments.jsonfields import JsonObject, JsonValue
from experiments.targets.node import Node
from experiments.targets.twin import TwinTarget
from experiments.twin.session import Twin, phase_of
from experiments.workloads import CONTROLLER_POD, DATA_CLAIM

pytestmark = pytest.mark.twin

READY_S = 300.0


def io_pod(name: str, priority: str, *, cpu_request: str | None) -> JsonObject:
    """Return a pod that keeps the volume busy until it is deleted."""
    resources: dict[str, JsonValue] = {"requests": {"cpu": cpu_request}} if cpu_request else {}
    command = [
        *("fio", f"--name={name}", f"--filename=/data/{name}", "--size=64M", "--rw=randread", "--bs=64k"),
        *("--iodepth=16", "--ioengine=libaio", "--direct=1", "--time_based", "--runtime=3600"),
    ]
    return {
        "metadata": {"name": name, "labels": {"drcio.io/priority": priority}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
            "containers": [
                {
                    "name": name,
                    "command": command,
                    "resources": resources,
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": DATA_CLAIM}}],
        },
    }


def latest(twin: Twin) -> JsonObject:
    count, _ = twin.samples_since(1 << 60)
    _, samples = twin.samples_since(max(count - 1, 0))
    return samples[-1]


def weights(twin: Twin) -> dict[str, object]:
    pods = cast("Mapping[str, Mapping[str, JsonValue]]", latest(twin)["pods"])
    return {name: pods[name]["io_weight"] for name in ("urgent", "backup") if name in pods}


def eventually(condition: Callable[[], bool], within_s: float, what: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, what()
        time.sleep(0.5)


def restarts(twin: Twin) -> int:
    pod = twin.pod(CONTROLLER_POD)
    status = cast("Mapping[str, Sequence[Mapping[str, int]]]", (pod or {}).get("status") or {})
    return sum(entry.get("restartCount", 0) for entry in status.get("containerStatuses", ()))


@pytest.fixture(scope="module")
def node(target: TwinTarget) -> Node:
    return target.node


@pytest.fixture(scope="module", autouse=True)
def busy_pods(twin: Twin) -> Iterator[None]:
    twin.create_pod(io_pod("urgent", "high", cpu_request="100m"))
    twin.create_pod(io_pod("backup", "low", cpu_request=None))
    twin.wait_ready("urgent", timeout_s=READY_S)
    twin.wait_ready("backup", timeout_s=READY_S)
    yield
    twin.delete_pod("urgent")
    twin.delete_pod("backup")


@pytest.fixture
def controlled(node: Node) -> Iterator[None]:
    controller = node.controller("drcio")
    assert controller is not None
    node.twin.create_pod(controller.manifest)
    node.twin.wait_ready(CONTROLLER_POD, timeout_s=READY_S)
    yield
    node.twin.delete_pod(CONTROLLER_POD)


def acts(twin: Twin) -> bool:
    found = weights(twin)
    engine_on = "enable=1" in cast(str, latest(twin)["qos"])
    return engine_on and cast(int, found["urgent"]) >= 10 * cast(int, found["backup"])


def as_found(node: Node) -> bool:
    return not node.changed_knobs() and set(weights(node.twin).values()) == {100}


def test_weights_act_and_shares_follow(twin: Twin, controlled: None) -> None:
    eventually(lambda: acts(twin), 60, lambda: (weights(twin), latest(twin)["qos"]))

    def bytes_read(name: str) -> int:
        pods = cast("Mapping[str, Mapping[str, Mapping[str, Mapping[str, int]]]]", latest(twin)["pods"])
        return sum(counters["rbytes"] for counters in pods[name]["io"].values())

    before = {name: bytes_read(name) for name in ("urgent", "backup")}
    time.sleep(10)
    grown = {name: bytes_read(name) - before[name] for name in before}
    # Both saturate; without control they would share evenly, besides sitting in different QoS slices.
    assert grown["urgent"] > 5 * grown["backup"] > 0, grown


def test_sigterm_puts_every_knob_back(node: Node) -> None:
    controller = node.controller("drcio")
    assert controller is not None
    node.twin.create_pod(controller.manifest)
    node.twin.wait_ready(CONTROLLER_POD, timeout_s=READY_S)
    eventually(lambda: acts(node.twin), 60, lambda: weights(node.twin))
    node.twin.delete_pod(CONTROLLER_POD)
    eventually(lambda: as_found(node), 30, lambda: (node.changed_knobs(), weights(node.twin)))


def test_killed_controller_comes_back_and_still_puts_every_knob_back(node: Node) -> None:
    twin = node.twin
    controller = node.controller("drcio")
    assert controller is not None
    twin.create_pod(controller.manifest)
    twin.wait_ready(CONTROLLER_POD, timeout_s=READY_S)
    eventually(lambda: acts(twin), 60, lambda: weights(twin))
    twin.create_pod(
        {
            "metadata": {"name": "killer"},
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "k", "command": ["pkill", "-KILL", "-f", "bin/drcio-controller"]}],
            },
        }
    )
    eventually(
        lambda: phase_of(twin.pod("killer") or {}) in ("Succeeded", "Failed"), 60, lambda: twin.log("killer")
    )
    twin.delete_pod("killer")
    eventually(lambda: restarts(twin) == 1, 60, lambda: twin.pod(CONTROLLER_POD))
    twin.wait_ready(CONTROLLER_POD, timeout_s=READY_S)
    eventually(lambda: acts(twin), 60, lambda: weights(twin))
    twin.delete_pod(CONTROLLER_POD)
    eventually(lambda: as_found(node), 30, lambda: (node.changed_knobs(), weights(twin)))
