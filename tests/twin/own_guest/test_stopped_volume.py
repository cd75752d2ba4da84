"""Two volumes, and one of them stops: the other stays controlled, the agent answers, and ends when asked.

On the kernel that nodes run a write to `io.cost.*` freezes the queue, and a queue with requests that never
end never freezes: whoever wrote sleeps until the volume goes on, and no signal ends that.
"""

import copy
import dataclasses
import re
from collections.abc import Iterator
from typing import cast

import httpx
import pytest

from drcio_controller.config import Config, PolicyName, VolumeProfile, dump
from drcio_controller.manifest import APP_LABEL, CONFIG_FILE
from drcio_controller.manifest import PORT as CONTROLLER_PORT
from experiments import workloads
from experiments.records.jsonfields import JsonObject, JsonValue
from experiments.targets.node import READY_TIMEOUT_S, Node
from experiments.targets.twin import TwinOptions, bare_twin
from experiments.workloads import CONTROLLER_POD, DATA_CLAIM, OTHER_CLAIM
from node_twin.host.session import running
from node_twin.host.twin import Twin
from node_twin.layout import NAMESPACE, NODE_NAME
from node_twin.volume.image import VolumeRequest
from tests.twin.conftest import CACHE, spec_of
from tests.twin.pods import TAKES_S, eventually, in_guest

pytestmark = pytest.mark.twin

STOPS_WITHIN_S = 5.0
OTHER_SERIAL = "vol00000000000000002"
HOST_PATIENCE_S = 600.0
"""Of the host's time, for an answer from an emulated guest."""
CALM_S = 20.0
FREEZES_A_MINUTE = 8
"""Of one device; twice what docs/law.md names, four writes a minute."""


def busy_pod(name: str, priority: str, claim: str) -> JsonObject:
    manifest = copy.deepcopy(
        workloads.saturating(name, priority, block_kib=256, namespace=NAMESPACE, node=NODE_NAME)
    )
    spec = cast("dict[str, list[dict[str, JsonValue]]]", manifest["spec"])
    spec["volumes"][0]["persistentVolumeClaim"] = {"claimName": claim}
    return manifest


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Return a node with a high and a low pod on each of two volumes, and an agent that steers both."""
    spec = spec_of()
    config = bare_twin(spec, TwinOptions(output=tmp_path_factory.mktemp("twin"), cache=CACHE))
    (data,) = config.volumes
    other = VolumeRequest(claim=OTHER_CLAIM, limits=data.limits, size_bytes=data.size_bytes)
    with running(dataclasses.replace(config, volumes=[data, other])) as twin:
        made = Node(twin, spec.volume, give_controller_volume=True)
        for claim in (DATA_CLAIM, OTHER_CLAIM):
            for priority in ("high", "low"):
                twin.create_pod(busy_pod(f"{priority}-{claim}", priority, claim))
                twin.wait_ready(f"{priority}-{claim}", timeout_s=READY_TIMEOUT_S)
        made.start_controller("drcio")
        eventually(twin, lambda: lines(twin, "qos", "enable=1") == 2, lambda: twin.sample()["qos"])
        yield made


def lines(twin: Twin, file: str, text: str) -> int:
    return sum(text in line for line in cast(str, twin.sample()[file]).splitlines())


def line_of(twin: Twin, file: str, claim: str) -> str:
    """Return a volume's line of `io.cost.qos` or `io.cost.model`."""
    (line,) = (
        line
        for line in cast(str, twin.sample()[file]).splitlines()
        if line.startswith(f"{number(twin, claim)} ")
    )
    return line


def number(twin: Twin, claim: str) -> str:
    return cast("dict[str, str]", twin.environment()["device_of_claim"])[claim]


def metrics(twin: Twin) -> str:
    return httpx.get(f"{twin.url(CONTROLLER_PORT)}/metrics", timeout=HOST_PATIENCE_S).text


def metric(text: str, pattern: str) -> float:
    found = re.search(rf"^{pattern} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def freezes(text: str) -> float:
    return sum(
        metric(text, rf'drcio_knob_write_seconds_count{{file="{re.escape(file)}"}}')
        for file in ("io.cost.qos", "io.cost.model")
    )


def test_writes_that_freeze_the_queue_are_few_and_measured(node: Node) -> None:
    node.twin.wait(10)  # what the first looks teach is past
    before = metrics(node.twin)
    node.twin.wait(CALM_S)
    after = metrics(node.twin)

    assert freezes(before) >= 4, "two files of two devices were written"
    assert freezes(after) - freezes(before) <= 2 * FREEZES_A_MINUTE * CALM_S / 60
    total_s = metric(after, r'drcio_knob_write_seconds_sum{file="io\.cost\.model"}')
    assert 0 < total_s < CALM_S


def test_stopped_volume_stops_neither_the_others_control_nor_metrics_nor_the_end(node: Node) -> None:
    twin = node.twin
    models = {claim: line_of(twin, "model", claim) for claim in (DATA_CLAIM, OTHER_CLAIM)}
    other = number(twin, OTHER_CLAIM)
    twin.change_volume(f"pause {OTHER_SERIAL}")
    twin.wait(2)
    # What is asked of both devices now is another model; on the stopped one it would freeze the queue.
    slower = Config(policy=PolicyName.DRCIO, volumes=(VolumeProfile(iops=1500, mib_s=60),))
    twin.put_config_map(APP_LABEL, {CONFIG_FILE: dump(slower)})

    eventually(
        twin,
        lambda: line_of(twin, "model", DATA_CLAIM) != models[DATA_CLAIM],
        lambda: twin.log(CONTROLLER_POD)[-2000:],
        2 * TAKES_S,
    )
    assert line_of(twin, "model", OTHER_CLAIM) == models[OTHER_CLAIM]
    waits = rf'drcio_device_writes_wait_seconds{{device="{other}",name="\S+"}}'
    eventually(twin, lambda: metric(metrics(twin), waits) > 0, lambda: metrics(twin))
    in_guest(twin, f"echo {number(twin, DATA_CLAIM)} enable=0 > /cg/io.cost.qos")
    eventually(
        twin,
        lambda: "enable=1" in line_of(twin, "qos", DATA_CLAIM),
        lambda: twin.log(CONTROLLER_POD)[-2000:],
        10,
    )

    began_s = twin.now_s()
    twin.delete_pod(CONTROLLER_POD)

    assert twin.now_s() - began_s < STOPS_WITHIN_S
    assert "enable=0" in line_of(twin, "qos", DATA_CLAIM)
    assert "enable=1" in line_of(twin, "qos", OTHER_CLAIM), "what would wait for it was not begun"
    twin.change_volume(f"resume {OTHER_SERIAL}")


def test_next_agent_puts_back_what_the_stopped_volume_kept(node: Node) -> None:
    """Whoever comes after, within the boot, knows from the journal what was found."""
    twin = node.twin
    node.start_controller("drcio")
    eventually(twin, lambda: lines(twin, "qos", "enable=1") == 2, lambda: twin.sample()["qos"])
    twin.delete_pod(CONTROLLER_POD)
    eventually(twin, lambda: not node.changed_knobs(), node.changed_knobs)
    assert lines(twin, "qos", "enable=1") == 0
