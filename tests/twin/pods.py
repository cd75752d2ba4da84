"""Pods that keep the volume busy, and looks at what became of them; for the tests of the controller."""

from collections.abc import Callable, Iterator, Mapping
from typing import cast

from experiments import workloads
from experiments.records.jsonfields import JsonObject, JsonValue
from experiments.targets.node import READY_TIMEOUT_S, Node
from node_twin.host.twin import Twin
from node_twin.layout import NAMESPACE, NODE_NAME
from node_twin.podstatus import restarts_of

PAIR = ("urgent", "backup")
"""A high and a low priority pod, in two QoS classes."""

TAKES_S = 60.0
"""Of the guest's time: until what the controller does can be seen."""


_LOOK_EVERY_S = 0.5


def busy_pods(twin: Twin) -> Iterator[None]:
    """Keep the pair busy; for a fixture to yield from."""
    for name, priority, resources in (
        ("urgent", "high", {"requests": {"cpu": "100m"}}),
        ("backup", "low", None),
    ):
        twin.create_pod(
            workloads.saturating(
                name,
                priority,
                resources=cast("Mapping[str, JsonValue] | None", resources),
                block_kib=64,
                restart_policy="Always",
                namespace=NAMESPACE,
                node=NODE_NAME,
            )
        )
    for name in PAIR:
        twin.wait_ready(name, timeout_s=READY_TIMEOUT_S)
    yield
    for name in PAIR:
        twin.delete_pod(name)


def hand_pod(script: str) -> JsonObject:
    """Return the pod `hand`, which runs a shell script with the cgroup tree writable at /cg."""
    return {
        "metadata": {"name": "hand"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "hand",
                    "command": ["sh", "-euc", script],
                    "volumeMounts": [{"name": "cg", "mountPath": "/cg"}],
                }
            ],
            "volumes": [{"name": "cg", "hostPath": {"path": "/sys/fs/cgroup"}}],
        },
    }


def in_guest(twin: Twin, script: str) -> str:
    """Run a shell script on the node and return what it printed."""
    twin.create_pod(hand_pod(script))
    succeeded, log = twin.wait_ended("hand", timeout_s=TAKES_S) == "Succeeded", twin.log("hand")
    twin.delete_pod("hand")
    assert succeeded, log
    return log


def weights(twin: Twin) -> dict[str, object]:
    pods = cast("Mapping[str, Mapping[str, JsonValue]]", twin.sample()["pods"])
    return {name: pods[name]["io_weight"] for name in PAIR if name in pods}


def eventually(
    twin: Twin, condition: Callable[[], bool], what: Callable[[], object], within_s: float = TAKES_S
) -> None:
    """Look again and again, for so many of the guest's seconds."""
    deadline_s = twin.now_s() + within_s
    while not condition():
        assert twin.wait(_LOOK_EVERY_S) < deadline_s, what()


def restarts(twin: Twin, name: str) -> int:
    return restarts_of(twin.pod(name))


def acts(twin: Twin) -> bool:
    found = weights(twin)
    engine_on = "enable=1" in cast(str, twin.sample()["qos"])
    urgent, backup = (cast("int | None", found.get(name)) for name in PAIR)
    # None: the file is away while io is out of a subtree_control.
    return engine_on and urgent is not None and backup is not None and urgent >= 10 * backup


def as_found(node: Node) -> bool:
    return not node.changed_knobs() and set(weights(node.twin).values()) == {100}


def eventually_acts(twin: Twin) -> None:
    """Wait until the engine is on and both weights are there."""
    eventually(twin, lambda: acts(twin), lambda: (weights(twin), twin.sample()["qos"]))


def effects(twin: Twin) -> set[str]:
    """Return what the controller says of the pair's weights."""
    status = cast("Mapping[str, list[Mapping[str, JsonValue]]]", twin.sample()["controller"] or {"pods": []})
    return {
        cast(str, device["effect"])
        for pod in status["pods"]
        if pod["name"] in PAIR
        for device in cast("list[Mapping[str, JsonValue]]", pod["devices"])
    }


def eventually_as_found(node: Node) -> None:
    eventually(node.twin, lambda: as_found(node), lambda: (node.changed_knobs(), weights(node.twin)), 30)
