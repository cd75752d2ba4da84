"""What only a kernel can show of the agent's manners: whose cgroup is whose, one agent, and its doctor."""

import copy
from collections.abc import Iterator, Mapping
from typing import cast

import pytest

from drcio_controller.standby import Standby
from experiments.records.jsonfields import JsonObject, JsonValue
from experiments.targets.node import READY_TIMEOUT_S, Node
from experiments.targets.twin import TwinOptions, bare_twin
from experiments.workloads import CONTROLLER_POD
from node_twin.host.session import running
from node_twin.layout import NODE_NAME
from node_twin.podstatus import phase_of
from tests.twin.conftest import CACHE, spec_of
from tests.twin.pods import (
    TAKES_S,
    busy_pods,
    eventually,
    eventually_acts,
    in_guest,
    weights,
)

pytestmark = pytest.mark.twin

OTHER_PORT = 9409


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Return a node on which a high and a low pod are busy and an agent steers."""
    spec = spec_of()
    options = TwinOptions(output=tmp_path_factory.mktemp("twin"), cache=CACHE)
    with running(bare_twin(spec, options)) as twin:
        made = Node(twin, spec.volume, give_controller_volume=True)
        busy = busy_pods(twin)
        next(busy)
        made.start_controller("drcio")
        eventually_acts(twin)
        yield made
        twin.delete_pod(CONTROLLER_POD)
        # Not the pods' weights: a test's writer set one on purpose, and that is what the agent found last.
        eventually(twin, lambda: not made.changed_knobs(), made.changed_knobs)
        for _ in busy:
            raise AssertionError("busy_pods yields once")


def manifest(node: Node, name: str) -> tuple[dict[str, JsonValue], dict[str, JsonValue]]:
    """Return a copy of the agent's manifest under another name, and its container."""
    agent = node.controller("drcio")
    assert agent is not None
    pod = copy.deepcopy(cast("dict[str, JsonValue]", agent.manifest))
    cast("dict[str, JsonValue]", pod["metadata"])["name"] = name
    spec = cast("dict[str, JsonValue]", pod["spec"])
    (container,) = cast("list[dict[str, JsonValue]]", spec["containers"])
    return pod, container


def set_variable(container: Mapping[str, JsonValue], name: str, value: str) -> None:
    for entry in cast("list[dict[str, JsonValue]]", container["env"]):
        if entry["name"] == name:
            entry["value"] = value


def doctor(
    node: Node, *, read_only: bool = False, config_map: str | None = None, url: str | None = None
) -> tuple[int, str]:
    """Run doctor as `kubectl exec` would, in the agent's surroundings; return its exit status and words."""
    twin = node.twin
    pod, container = manifest(node, "doctor")
    spec = cast("dict[str, JsonValue]", pod["spec"])
    spec["restartPolicy"] = "Never"
    container["command"] = ["drcio-controller", "doctor"]
    for key in ("args", "readinessProbe", "livenessProbe", "ports"):
        container.pop(key, None)
    if read_only:
        for mount in cast("list[dict[str, JsonValue]]", container["volumeMounts"]):
            mount["readOnly"] = True
    if config_map is not None:
        for volume in cast("list[dict[str, JsonValue]]", spec["volumes"]):
            if volume["name"] == "config":
                volume["configMap"] = {"name": config_map}
    if url is not None:
        set_variable(container, "DRCIO_STATUS_URL", url)
    twin.create_pod(cast("JsonObject", pod))
    eventually(
        twin,
        lambda: phase_of(twin.pod("doctor") or {}) in ("Succeeded", "Failed"),
        lambda: twin.pod("doctor"),
    )
    status, log = exit_status(twin.pod("doctor") or {}), twin.log("doctor")
    twin.delete_pod("doctor")
    return status, log


def exit_status(pod: JsonObject) -> int:
    status = cast("Mapping[str, list[Mapping[str, Mapping[str, Mapping[str, int]]]]]", pod["status"])
    (container,) = status["containerStatuses"]
    return container["state"]["terminated"]["exitCode"]


def bad(log: str) -> str:
    return "\n".join(line for line in log.splitlines() if line.startswith("BAD"))


def test_doctor_of_a_node_in_order_succeeds(node: Node) -> None:
    status, log = doctor(node)

    assert (status, bad(log)) == (0, "")
    assert "everything holds" in log


def test_doctor_names_a_read_only_tree(node: Node) -> None:
    status, log = doctor(node, read_only=True)

    assert status == 1
    assert "read-only: no weight can be written" in bad(log)


def test_doctor_names_a_refused_configuration(node: Node) -> None:
    node.twin.put_config_map("wrong", {"config.yaml": "polcy: drcio\n"})

    status, log = doctor(node, config_map="wrong")

    assert status == 1
    assert "unknown key 'polcy'" in bad(log)


def test_doctor_names_an_agent_that_does_not_answer(node: Node) -> None:
    status, log = doctor(node, url="http://127.0.0.1:9")

    assert status == 1
    assert "does not answer" in bad(log)


def test_doctor_names_who_keeps_writing(node: Node) -> None:
    twin = node.twin
    writer: JsonObject = {
        "metadata": {"name": "writer"},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "writer",
                    "command": [
                        "sh",
                        "-c",
                        "while :; do for f in $(find /cg/kubepods.slice -path '*besteffort-pod*/io.weight');"
                        " do echo default 4242 > $f; done; sleep 0.3; done",
                    ],
                    "volumeMounts": [{"name": "cg", "mountPath": "/cg"}],
                }
            ],
            "volumes": [{"name": "cg", "hostPath": {"path": "/sys/fs/cgroup"}}],
        },
    }
    twin.create_pod(writer)
    found: list[tuple[int, str]] = []

    def named() -> bool:
        found.append(doctor(node))
        return found[-1][0] == 1 and "somebody else keeps writing '4242'" in bad(found[-1][1])

    eventually(twin, named, lambda: found[-1][1], 2 * TAKES_S)
    twin.delete_pod("writer")
    eventually(
        twin, lambda: weights(twin) == {"urgent": 1000, "backup": 10}, lambda: weights(twin), 2 * TAKES_S
    )


def test_second_agent_is_passive_and_its_doctor_says_so(node: Node) -> None:
    twin = node.twin
    pod, container = manifest(node, "second")
    args = cast("list[str]", container["args"])
    container["args"] = [
        f"--listen=0.0.0.0:{OTHER_PORT}" if arg.startswith("--listen") else arg for arg in args
    ]
    for key in ("readinessProbe", "livenessProbe", "ports"):
        container.pop(key, None)
    twin.create_pod(cast("JsonObject", pod))
    eventually(
        twin,
        lambda: f"reason={Standby.LOCKED}" in twin.log("second"),
        lambda: twin.log("second"),
        READY_TIMEOUT_S,
    )

    status, log = doctor(node, url=f"http://127.0.0.1:{OTHER_PORT}")
    twin.delete_pod("second")

    assert status == 1
    assert "another drcio-controller steers this node" in bad(log)
    eventually_acts(twin)


def test_mirror_of_another_pod_moves_no_weight(node: Node) -> None:
    """The cgroup tree is the real one: nothing of the victim's changes while the thief is there."""
    twin = node.twin
    victim = cast("Mapping[str, Mapping[str, str]]", twin.pod("urgent"))["metadata"]["uid"]
    annotations = {f"kubernetes.io/config.{key}": victim for key in ("hash", "mirror")}
    thief: JsonObject = {
        "metadata": {
            "name": "thief",
            "labels": {"drcio.io/priority": "low"},
            "annotations": {**annotations, "kubernetes.io/config.source": "file"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": NODE_NAME, "uid": "1", "controller": True}
            ],
        },
        "spec": {"containers": [{"name": "main", "command": ["sleep", "600"]}]},
    }
    twin.create_pod(thief)
    twin.wait_ready("thief", timeout_s=READY_TIMEOUT_S)
    seen = set()
    for _ in range(8):
        twin.wait(1.0)
        seen.add(cast("int | None", weights(twin).get("urgent")))
    twin.delete_pod("thief")

    assert seen == {1000}


def test_lock_is_seen_by_every_container_of_the_node(node: Node) -> None:
    said = in_guest(node.twin, "flock -n /cg/cgroup.subtree_control true && echo free || echo held")

    assert said.strip() == "held"
