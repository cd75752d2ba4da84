"""Pods that keep the volume busy, and looks at what became of them; for the tests of the controller."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from experiments import workloads
from experiments.jsonfields import JsonObject, JsonValue
from experiments.targets.node import READY_TIMEOUT_S, Node
from experiments.twin.layout import NAMESPACE, NODE_NAME
from experiments.twin.session import Twin, phase_of

PAIR = ("urgent", "backup")
"""A high and a low priority pod, in two QoS classes."""

TAKES_S = 60.0
"""Until what the controller does can be seen, emulated and at one sample a second."""


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


def in_guest(twin: Twin, script: str) -> str:
    """Run a shell script on the node, the cgroup tree writable at /cg, and return what it printed."""
    twin.create_pod(
        {
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
    )
    eventually(
        lambda: phase_of(twin.pod("hand") or {}) in ("Succeeded", "Failed"), 60, lambda: twin.log("hand")
    )
    succeeded, log = phase_of(twin.pod("hand") or {}) == "Succeeded", twin.log("hand")
    twin.delete_pod("hand")
    assert succeeded, log
    return log


def latest(twin: Twin) -> JsonObject:
    sample = twin.latest_sample()
    assert sample is not None, "the sampler has not begun"
    return sample


def weights(twin: Twin) -> dict[str, object]:
    pods = cast("Mapping[str, Mapping[str, JsonValue]]", latest(twin)["pods"])
    return {name: pods[name]["io_weight"] for name in PAIR if name in pods}


def eventually(condition: Callable[[], bool], within_s: float, what: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, what()
        time.sleep(0.5)


def restarts(twin: Twin, name: str) -> int:
    pod = twin.pod(name)
    status = cast("Mapping[str, Sequence[Mapping[str, int]]]", (pod or {}).get("status") or {})
    return sum(entry.get("restartCount", 0) for entry in status.get("containerStatuses", ()))


def acts(twin: Twin) -> bool:
    found = weights(twin)
    engine_on = "enable=1" in cast(str, latest(twin)["qos"])
    urgent, backup = (cast("int | None", found.get(name)) for name in PAIR)
    # None: the file is away while io is out of a subtree_control.
    return engine_on and urgent is not None and backup is not None and urgent >= 10 * backup


def as_found(node: Node) -> bool:
    return not node.changed_knobs() and set(weights(node.twin).values()) == {100}


def eventually_acts(twin: Twin) -> None:
    """Wait until a sample begun from now on shows the engine on and both weights."""
    before = twin.sample_count()
    eventually(
        lambda: twin.sample_count() > before + 1 and acts(twin),
        TAKES_S,
        lambda: (weights(twin), latest(twin)["qos"]),
    )


def effects(twin: Twin) -> set[str]:
    """Return what the controller says of the pair's weights."""
    status = cast("Mapping[str, list[Mapping[str, JsonValue]]]", latest(twin)["controller"] or {"pods": []})
    return {
        cast(str, device["effect"])
        for pod in status["pods"]
        if pod["name"] in PAIR
        for device in cast("list[Mapping[str, JsonValue]]", pod["devices"])
    }


def eventually_as_found(node: Node) -> None:
    eventually(lambda: as_found(node), 30, lambda: (node.changed_knobs(), weights(node.twin)))
