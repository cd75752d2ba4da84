"""The controller on a real kernel: each of its engines acts, and however it ends all is put back."""

from collections.abc import Iterator, Mapping
from typing import cast

import pytest

from drcio_controller.config import Config, Engine, PolicyName, dump
from drcio_controller.manifest import APP_LABEL, CONFIG_FILE
from experiments.records.jsonfields import JsonValue
from experiments.targets.node import READY_TIMEOUT_S, Node
from experiments.workloads import CONTROLLER_POD
from tests.twin.pods import (
    PAIR,
    TAKES_S,
    as_found,
    effects,
    eventually,
    eventually_acts,
    eventually_as_found,
    hand_pod,
    in_guest,
    restarts,
)

pytestmark = [pytest.mark.twin, pytest.mark.usefixtures("busy_pods")]


@pytest.fixture(autouse=True)
def no_controller_left(node: Node) -> Iterator[None]:
    """Take the controller away where a test failed before it did: the next one starts its own."""
    yield
    node.twin.delete_pod(CONTROLLER_POD)


def test_sigterm_puts_every_knob_back(node: Node) -> None:
    node.start_controller("drcio")
    eventually_acts(node.twin)
    node.twin.delete_pod(CONTROLLER_POD)
    eventually_as_found(node)


def test_killed_controller_comes_back_and_still_puts_every_knob_back(node: Node) -> None:
    twin = node.twin
    node.start_controller("drcio")
    eventually_acts(twin)
    in_guest(twin, "pkill -KILL -f bin/drcio-[c]ontroller")
    eventually(twin, lambda: restarts(twin, CONTROLLER_POD) == 1, lambda: twin.pod(CONTROLLER_POD))
    twin.wait_ready(CONTROLLER_POD, timeout_s=READY_TIMEOUT_S)
    eventually_acts(twin)
    twin.delete_pod(CONTROLLER_POD)
    eventually_as_found(node)


def test_bfq_weighs_and_its_scheduler_is_taken_back(node: Node) -> None:
    twin = node.twin
    node.start_controller("bfq")

    def weighs() -> bool:
        knobs = twin.knobs()
        switched = "bfq" in {value for knob, value in knobs.items() if knob.endswith("/scheduler")}
        found = {
            str(value).splitlines()[0]
            for knob, value in knobs.items()
            if "-pod" in knob and knob.endswith("/io.bfq.weight")
        }
        return switched and {"default 10", "default 1000"} <= found

    eventually(twin, weighs, twin.knobs)
    twin.delete_pod(CONTROLLER_POD)
    eventually_as_found(node)


def test_limits_hold_low_priority_and_are_lifted(node: Node) -> None:
    twin = node.twin
    agent = node.controller("drcio")
    assert agent is not None
    config = Config(policy=PolicyName.DRCIO, engine=Engine.IOMAX)
    twin.put_config_map(APP_LABEL, {CONFIG_FILE: dump(config)})
    twin.create_pod(agent.manifest)
    twin.wait_ready(CONTROLLER_POD, timeout_s=READY_TIMEOUT_S)

    def limits() -> dict[str, str]:
        found = cast("Mapping[str, str]", twin.sample()["io_max"])
        return {name: found[name] for name in PAIR}

    eventually(twin, lambda: "rbps=" in limits()["backup"], limits)
    assert limits()["urgent"] == ""
    assert "enable=1" not in cast(str, twin.sample()["qos"])
    twin.delete_pod(CONTROLLER_POD)
    eventually_as_found(node)


BEST_EFFORT = "/cg/kubepods.slice/kubepods-besteffort.slice"


def test_level_that_is_busy_as_the_agent_ends_is_put_back_once_it_is_free(node: Node) -> None:
    """The kernel refuses (EBUSY) to take a controller from a level as long as a child hands it on."""
    twin = node.twin
    in_guest(
        twin,
        f"for f in $(find {BEST_EFFORT} -name cgroup.subtree_control | sort -r); do echo -io > $f; done",
    )
    node.start_controller("drcio")
    eventually_acts(twin)
    in_guest(twin, f"mkdir {BEST_EFFORT}/child; echo +io > {BEST_EFFORT}/child/cgroup.subtree_control")
    assert (
        in_guest(twin, f"(echo -io > {BEST_EFFORT}/cgroup.subtree_control) 2>/dev/null || echo busy").strip()
        == "busy"
    )
    frees = f"sleep 4; echo -io > {BEST_EFFORT}/child/cgroup.subtree_control; rmdir {BEST_EFFORT}/child"

    twin.create_pod(hand_pod(frees))
    twin.delete_pod(CONTROLLER_POD)

    twin.wait_ended("hand", timeout_s=TAKES_S)
    twin.delete_pod("hand")
    levels = f"cat {BEST_EFFORT}/cgroup.subtree_control"
    eventually(twin, lambda: "io" not in in_guest(twin, levels).split(), lambda: in_guest(twin, levels))
    in_guest(twin, f"echo +io > {BEST_EFFORT}/cgroup.subtree_control")
    assert as_found(node)


def test_read_only_cgroup_tree_is_said_and_survived(node: Node) -> None:
    twin = node.twin
    agent = node.controller("drcio")
    assert agent is not None
    spec = cast("dict[str, list[dict[str, list[dict[str, JsonValue]]]]]", agent.manifest["spec"])
    (mount,) = [one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "cgroup"]
    mount["readOnly"] = True
    twin.create_pod(agent.manifest)
    eventually(twin, lambda: effects(twin) == {"inert"}, lambda: twin.sample()["controller"])
    assert "Read-only file system" in twin.log(CONTROLLER_POD)
    assert as_found(node)
    assert restarts(twin, CONTROLLER_POD) == 0
    twin.delete_pod(CONTROLLER_POD)
    assert as_found(node)
