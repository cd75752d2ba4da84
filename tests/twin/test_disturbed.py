"""A controller at work on a real kernel, disturbed in every way; at the end all is as it was found."""

from collections.abc import Iterator, Mapping
from typing import cast

import pytest

from experiments.records.jsonfields import JsonObject
from experiments.response.drive import cgroup_of
from experiments.targets.node import Node
from experiments.workloads import CONTROLLER_POD
from node_twin.guest.sampler import CGROUP_ROOT
from node_twin.host.twin import Twin
from tests.twin.pods import (
    PAIR,
    effects,
    eventually,
    eventually_acts,
    eventually_as_found,
    in_guest,
    restarts,
)

pytestmark = [pytest.mark.twin, pytest.mark.usefixtures("busy_pods")]


@pytest.fixture(scope="module", autouse=True)
def controlled(node: Node, busy_pods: None) -> Iterator[None]:
    node.start_controller("drcio")
    yield
    node.twin.delete_pod(CONTROLLER_POD)
    eventually_as_found(node)


def test_weights_act_and_shares_follow(twin: Twin) -> None:
    eventually_acts(twin)

    def bytes_read(name: str) -> int:
        pods = cast("Mapping[str, Mapping[str, Mapping[str, Mapping[str, int]]]]", twin.sample()["pods"])
        return sum(counters["rbytes"] for counters in pods[name]["io"].values())

    before = {name: bytes_read(name) for name in PAIR}
    twin.wait(10)
    grown = {name: bytes_read(name) - before[name] for name in before}
    # Both saturate; without control they would share evenly, besides sitting in different QoS slices.
    assert grown["urgent"] > 5 * grown["backup"] > 0, grown


def test_io_taken_out_of_every_level_is_put_back(twin: Twin) -> None:
    eventually_acts(twin)
    # Deepest first, or the kernel refuses; as systemd does when it takes a controller from its units.
    # Again where the controller was quicker than this loop and gave a child its `io` back.
    in_guest(
        twin,
        """
        for attempt in $(seq 20); do
            for file in $(find /cg/kubepods.slice -name cgroup.subtree_control | sort -r); do
                echo -io > $file || true
            done
            grep -qw io /cg/kubepods.slice/cgroup.subtree_control || exit 0
        done
        exit 1
        """,
    )
    eventually_acts(twin)


def test_knobs_changed_behind_its_back_are_put_right_and_reported(twin: Twin) -> None:
    eventually_acts(twin)
    backup = cgroup_of(twin, "backup")
    in_guest(
        twin,
        f"echo default 10000 > /cg/{backup.relative_to(CGROUP_ROOT)}/io.weight;"
        " echo $(cut -d' ' -f1 /cg/io.cost.qos) enable=0 > /cg/io.cost.qos",
    )

    def reported() -> bool:
        log = twin.log(CONTROLLER_POD)
        return "foreign_change knob=io.cost.qos" in log and "found='10000'" in log

    eventually(twin, reported, lambda: twin.log(CONTROLLER_POD)[-2000:])
    eventually_acts(twin)


def test_container_that_restarts_keeps_its_pods_weight(twin: Twin) -> None:
    eventually_acts(twin)
    before = restarts(twin, "backup")
    in_guest(twin, "pkill -KILL -f [-]-name=backup")
    eventually(twin, lambda: restarts(twin, "backup") > before, lambda: twin.pod("backup"))
    eventually_acts(twin)
    eventually(twin, lambda: effects(twin) == {"effective"}, lambda: twin.sample()["controller"])


def test_device_that_vanishes_is_let_go(twin: Twin) -> None:
    in_guest(twin, "modprobe null_blk nr_devices=1 gb=1")
    (_, number) = in_guest(twin, "echo . $(cat /sys/block/nullb0/dev)").split()
    manifest: JsonObject = {
        "metadata": {"name": "reader", "labels": {"drcio.io/priority": "low"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "reader",
                    "command": [
                        *("fio", "--name=reader", "--filename=/dev/nullb0", "--rw=randread", "--bs=64k"),
                        *("--direct=1", "--time_based", "--runtime=3600", "--rate_iops=50"),
                    ],
                }
            ],
        },
    }
    twin.create_pod(manifest)

    def managed() -> bool:
        return f"{number} enable=1" in cast(str, twin.sample()["qos"])

    eventually(twin, managed, lambda: (twin.sample()["qos"], twin.log("reader")))
    twin.delete_pod("reader")
    in_guest(twin, "rmmod null_blk")
    eventually(
        twin,
        lambda: f"device_left device={number} name=nullb0 gone=True" in twin.log(CONTROLLER_POD),
        lambda: twin.log(CONTROLLER_POD)[-2000:],
    )
    eventually_acts(twin)
    assert "tick_failed" not in twin.log(CONTROLLER_POD)
