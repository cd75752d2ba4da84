"""The whole agent against a real HTTP Pod API, on a fake node: faults of the API, configuration, its end."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import pytest

from drcio_controller.config import digest, parse
from drcio_controller.instance import limit_of
from drcio_controller.knobs.journal import FILE_NAME
from drcio_controller.kube.jsontypes import JsonObject
from drcio_controller.kube.pod import Pod
from drcio_controller.testing.fakenode import DEVICE, FakeNode
from drcio_controller.testing.podapi import ApiOptions
from drcio_controller.testing.server import serving
from drcio_controller.testing.store import PodStore, Resource
from tests.images.drcio_controller.rig import Rig, pod_document
from tests.waits import eventually


def test_label_change_is_applied_within_a_quarter_second(rig: Rig) -> None:
    cgroup = rig.add_pod("a", "low")
    rig.expect_weight(cgroup, 10)
    delays_s = []
    for priority, weight in [("high", 1000), ("medium", 100), ("low", 10)] * 3:
        changed_s = time.monotonic()
        rig.relabel("a", priority)
        rig.expect_weight(cgroup, weight)
        delays_s.append(time.monotonic() - changed_s)

    assert sorted(delays_s)[len(delays_s) // 2] < 0.25


def test_everything_is_put_back_at_the_end(rig: Rig) -> None:
    cgroup = rig.add_pod("a", "high")
    rig.expect_weight(cgroup, 1000)

    rig.stop()

    assert rig.exit_status == 0
    assert rig.node.read(f"{cgroup}/io.weight") == "default 100\n"


def test_second_agent_takes_over_what_a_killed_one_left(node: FakeNode, fast_folder: Path) -> None:
    with serving(PodStore()) as api:
        first = Rig(node, api, fast_folder)
        first.start()
        cgroup = first.add_pod("a", "high")
        first.expect_weight(cgroup, 1000)
        journal = (first.state_dir / FILE_NAME).read_text()
        first.stop()
        # What SIGKILL would have left: the journal, and knobs that nobody put back.
        (first.state_dir / FILE_NAME).write_text(journal)
        node.write(f"{node.roots.cgroup}/{cgroup}/io.weight", "default 1000")

        second = Rig(node, api, fast_folder)
        second.start()
        second.expect_weight(cgroup, 1000)
        second.stop()

    assert node.read(f"{cgroup}/io.weight") == "default 100\n"


@pytest.mark.parametrize(
    "code", [HTTPStatus.GONE, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.INTERNAL_SERVER_ERROR]
)
def test_api_server_that_refuses_is_asked_again(rig: Rig, code: HTTPStatus) -> None:
    cgroup = rig.add_pod("a", "low")
    rig.expect_weight(cgroup, 10)
    rig.api.faults.fail_next(2, code)
    rig.api.faults.cuts = 1
    rig.relabel("a", "high")

    rig.expect_weight(cgroup, 1000)


def test_api_server_that_is_away_leaves_the_last_known_pods_managed(rig: Rig) -> None:
    cgroup = rig.add_pod("a", "high")
    rig.expect_weight(cgroup, 1000)
    rig.api.down()
    rig.node.write(f"{rig.node.roots.cgroup}/{cgroup}/io.weight", "default 7")
    rig.expect_weight(cgroup, 1000)

    rig.api.store.patch(
        Resource.PODS, "shop", "pod-a", {"metadata": {"labels": {"drcio.io/priority": "low"}}}
    )
    rig.api.up()

    rig.expect_weight(cgroup, 10)


def test_bad_configuration_leaves_the_last_good_one_and_is_seen(rig: Rig) -> None:
    cgroup = rig.add_pod("a", "high")
    rig.expect_weight(cgroup, 1000)
    rig.config.write_text("classes: {high: ")
    eventually(lambda: "drcio_config_valid 0.0" in rig.get("/metrics")[1], "refused")
    rig.expect_weight(cgroup, 1000)

    rig.config.write_text("interval_s: 0.1\nclasses: {high: 5000}\n")

    rig.expect_weight(cgroup, 5000)


def _until_ticks(rig: Rig, ticks: int) -> None:
    eventually(lambda: rig.agent._tally.ticks > ticks, f"{ticks} looks at the file")


def test_refused_configuration_is_told_and_counted_once_each_time(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("classes: {high: ", "polcy: drcio\n"):
        rig.config.write_text(text)
        _until_ticks(rig, rig.agent._tally.ticks + 20)

    assert len([one for one in caplog.records if "config_refused" in one.getMessage()]) == 2
    assert "drcio_config_errors_total 2.0" in rig.get("/metrics")[1]


def test_pass_that_always_fails_fills_no_log(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(now_s: float) -> None:
        raise RuntimeError("a fault of this program's own")

    with monkeypatch.context() as patch:
        patch.setattr(rig.agent._controller, "tick", fail)
        eventually(lambda: rig.agent._tally.tick_errors > 30, "thirty passes that failed")

    assert 1 <= len([one for one in caplog.records if "tick_failed" in one.getMessage()]) <= 5


@pytest.mark.parametrize("fault", ["malformed", "refused"])
def test_fault_of_every_pods_files_fills_no_log_and_no_status(
    rig: Rig, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    if fault == "refused":
        rig.node.refuse.add("io.weight")
    for index in range(120):
        cgroup = rig.add_pod(f"p{index}", "high")
        if fault == "malformed":
            (rig.node.roots.cgroup / cgroup / "io.stat").write_text("nonsense\n")
    eventually(lambda: len(rig.agent._status.pods) == 120, "all pods")
    ticks = rig.agent._tally.ticks
    eventually(lambda: rig.agent._tally.ticks > ticks + 10, "ten looks at them")

    lines = [one for one in caplog.records if one.getMessage().startswith(("malformed_file", "knob_failed"))]
    assert 1 <= len(lines) <= 25
    assert len(rig.agent._status.problems) <= 50


def test_status_names_the_configuration_in_force(rig: Rig) -> None:
    def in_force() -> object:
        return json.loads(rig.get("/status")[1])["config_digest"]

    good = "interval_s: 0.1\nclasses: {high: 5000}\n"
    rig.config.write_text(good)
    eventually(lambda: in_force() == digest(parse(good)), "in force")
    rig.config.write_text("classes: {high: ")
    eventually(lambda: "drcio_config_valid 0.0" in rig.get("/metrics")[1], "refused")
    assert in_force() == digest(parse(good))


def test_metrics_of_the_contract_are_served(rig: Rig) -> None:
    cgroup = rig.add_pod("a", "high")
    rig.expect_weight(cgroup, 1000)
    rig.node.do_io(cgroup, read_bytes=4096)
    eventually(lambda: "drcio_io_bytes_read_total{" in rig.get("/metrics")[1], "bytes read")

    text = rig.get("/metrics")[1]

    where = 'namespace="shop",pod="pod-a",priority="high"'
    assert f"drcio_io_weight{{{where}}} 1000.0" in text
    assert 'drcio_active_pods{priority="high"} 1.0' in text
    assert f'drcio_io_bytes_read_total{{device="{DEVICE}",{where}}} 4096.0' in text.replace(
        f'{{{where},device="{DEVICE}"}}', f'{{device="{DEVICE}",{where}}}'
    )
    assert "drcio_workload_discovery_total 1.0" in text
    assert "drcio_io_weight_applied_total" in text
    assert "drcio_io_bytes_write_total" in text


def test_namespaces_label_is_the_class_of_its_unlabelled_pods(rig: Rig) -> None:
    labelled, plain = rig.add_pod("a", "low", "bank"), rig.add_pod("b", None, "bank")
    other = rig.add_pod("c", None, "shop")
    rig.label_namespace("bank", "high")

    rig.expect_weight(plain, 1000)
    assert rig.node.read(f"{labelled}/io.weight") == "default 10\n"
    assert rig.node.read(f"{other}/io.weight") == "default 100\n"

    rig.label_namespace("bank", None)
    rig.expect_weight(plain, 100)


def test_api_server_that_shows_no_namespaces_leaves_labelled_pods_managed(
    node: FakeNode, fast_folder: Path
) -> None:
    def forbid(path: str) -> bool:
        return path == "/api/v1/namespaces"

    with serving(PodStore(), ApiOptions(forbid=forbid)) as api:
        rig = Rig(node, api, fast_folder)
        rig.start()
        rig.expect_weight(rig.add_pod("a", "high"), 1000)
        eventually(
            lambda: any(
                "namespaces" in problem and "403" in problem
                for problem in json.loads(rig.get("/status")[1])["problems"]
            ),
            "the problem in the status",
        )
        rig.stop()


def test_role_of_each_pod_on_a_device_is_a_metric_of_labelled_and_unlabelled_alike(rig: Rig) -> None:
    cgroups = {name: rig.add_pod(name, label) for name, label in (("h", "high"), ("l", "low"), ("u", None))}

    def roles() -> set[tuple[str, str]]:
        for cgroup in cgroups.values():
            rig.node.do_io(cgroup, read_bytes=4096)
        lines = [line for line in rig.get("/metrics")[1].splitlines() if line.startswith("drcio_pod_role{")]
        assert all(line.endswith(" 1.0") and f'device="{DEVICE}"' in line for line in lines)
        return {
            (line.split('pod="')[1].split('"')[0], line.split('role="')[1].split('"')[0]) for line in lines
        }

    eventually(
        lambda: roles() == {("pod-h", "protected"), ("pod-l", "yielding"), ("pod-u", "yielding")}, "roles"
    )


def test_instance_type_is_read_from_the_nodes_own_label(node: FakeNode, fast_folder: Path) -> None:
    with serving(PodStore()) as api:
        labels: JsonObject = {"node.kubernetes.io/instance-type": "t3.xlarge"}
        api.store.create(Resource.NODES, "", {"metadata": {"name": "node-1", "labels": labels}})
        rig = Rig(node, api, fast_folder)
        rig.start()
        eventually(lambda: rig.agent._controller.instance_limit == limit_of("t3.xlarge"), "the limit")
        rig.stop()


def test_probes_and_status_answer(rig: Rig) -> None:
    rig.add_pod("a", "high")
    eventually(lambda: json.loads(rig.get("/readyz")[1])["managed_pods"] == 1, "one managed pod")

    assert rig.get("/healthz")[0] == 200
    assert rig.get("/readyz")[0] == 200
    assert json.loads(rig.get("/status")[1])["pods"][0]["priority"] == "high"
    assert rig.get("/nothing")[0] == 404


def test_agent_that_hears_of_no_pod_any_more_is_not_alive(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ended the thread: kubelet starts the agent again."""
    assert rig.get("/healthz")[0] == HTTPStatus.OK
    monkeypatch.setattr("drcio_controller.kube.informer.threading.excepthook", lambda _: None)
    monkeypatch.setattr(rig.agent._informer, "_apply", failing)
    rig.api.store.create(Resource.PODS, "shop", pod_document("a", "high"))

    eventually(lambda: rig.get("/healthz")[0] == HTTPStatus.SERVICE_UNAVAILABLE, "not alive")


def test_a_look_has_the_time_of_the_look_and_not_of_before_the_pods_were_taken(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = rig.agent._controller
    set_pods, tick = controller.set_pods, controller.tick
    taken_at_s = [0.0]
    looks: list[tuple[float, float]] = []

    def slow(pods: Mapping[str, Pod], classes: Mapping[str, str] | None = None) -> None:
        set_pods(pods, classes)
        time.sleep(0.05)
        taken_at_s.append(time.monotonic())

    def look(now_s: float) -> None:
        looks.append((now_s, taken_at_s[-1]))
        tick(now_s)

    monkeypatch.setattr(controller, "set_pods", slow)
    monkeypatch.setattr(controller, "tick", look)
    for index in range(20):
        rig.add_pod(f"{index}", "high")
        time.sleep(0.03)
    eventually(lambda: len(looks) > 10, "ten looks")

    assert len(taken_at_s) > 3
    assert all(now_s >= before_s for now_s, before_s in looks)


def failing(*_: object) -> None:
    raise RuntimeError("a fault of this program's own")


def test_pod_without_an_engine_is_inert_in_metric_readiness_and_event(rig: Rig) -> None:
    rig.config.write_text("interval_s: 0.1\npolicy: weight-only\n")
    cgroup = rig.add_pod("a", "high")

    def inert() -> bool:
        rig.node.do_io(cgroup, read_bytes=4096)
        return bool(json.loads(rig.get("/readyz")[1])["inert"])

    eventually(inert, "inert")
    assert 'state="inert"} 1.0' in rig.get("/metrics")[1]
    eventually(
        lambda: any(event["reason"] == "IOWeightInert" for event in rig.api.store.all(Resource.EVENTS)[1]),
        "an Event",
    )
