"""Control that does not help is withdrawn, and says so: status, metric, Event, one line of the log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from drcio_controller.config import Config, Engine, VolumeProfile
from drcio_controller.kernel.parse import DeviceId
from drcio_controller.kube.jsontypes import text_at
from drcio_controller.kube.pod import QosClass
from drcio_controller.law.decision import Decision, View
from drcio_controller.law.drcio import WITHDRAWN, DrcioPolicy
from drcio_controller.law.law import Law, Mode
from drcio_controller.pods.nodepod import NodePod
from drcio_controller.status.table import render
from drcio_controller.testing.fakenode import DEVICE, FakeNode
from drcio_controller.testing.store import Resource
from drcio_controller.window import Flow, Window
from tests.images.drcio_controller.rig import Rig, running
from tests.waits import eventually

WHY = "a queue that does not drain"


@dataclass
class Steered:
    """A policy that withdraws when it is told to."""

    withdrawn: str = ""
    looks: int = field(default=0)

    def decide(self, view: View) -> Decision:
        self.looks += 1
        state = "let-go" if self.withdrawn else "hold"
        return Decision(state=state, reason="a test says so", withdrawn=self.withdrawn)


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch) -> Steered:
    made = Steered()
    monkeypatch.setattr("drcio_controller.loop.make_policy", lambda config: made)
    return made


@pytest.fixture
def rig(policy: Steered, node: FakeNode, fast_folder: Path) -> Iterator[Rig]:
    with running(node, fast_folder) as made:
        cgroups = [made.add_pod(f"{priority}-1", priority) for priority in ("high", "low")]
        eventually(lambda: io_is_seen(made, cgroups), "both pods' roles")
        yield made


def io_is_seen(rig: Rig, cgroups: list[str]) -> bool:
    for cgroup in cgroups:
        rig.node.do_io(cgroup, read_bytes=1 << 20)
    return 'role="protected"' in rig.get("/metrics")[1]


def keep_io(rig: Rig) -> Rig:
    for priority in ("high", "low"):
        rig.node.do_io(rig.node.hierarchy.pod(f"{priority}-1", QosClass.BURSTABLE), read_bytes=1 << 20)
    return rig


def events(rig: Rig, reason: str) -> set[str]:
    """Return the pods that have such an Event."""
    return {
        text_at(event, "involvedObject", "name")
        for event in rig.api.store.all(Resource.EVENTS)[1]
        if event["reason"] == reason
    }


def test_withdrawal_is_in_status_metric_event_and_one_line(
    rig: Rig, policy: Steered, caplog: pytest.LogCaptureFixture
) -> None:
    gauge = f'drcio_device_withdrawn{{device="{DEVICE}",name="nvme1n1"}}'
    assert f"{gauge} 0.0" in rig.get("/metrics")[1]
    policy.withdrawn = WHY

    def said() -> bool:
        keep_io(rig)
        return f"{gauge} 1.0" in rig.get("/metrics")[1] and bool(events(rig, "IOControlWithdrawn"))

    eventually(said, "metric and Event")
    looks = policy.looks
    eventually(lambda: policy.looks > looks + 15, "more looks in the same state")

    assert events(rig, "IOControlWithdrawn") == {"pod-high-1"}
    assert f'drcio_withdrawals_total{{device="{DEVICE}",name="nvme1n1"}} 1.0' in rig.get("/metrics")[1]
    lines = [record.getMessage() for record in caplog.records if "control_withdrawn" in record.getMessage()]
    assert lines == [f"control_withdrawn device={DEVICE} name=nvme1n1 why={WHY!r}"]
    table = render(json.loads(rig.get("/status")[1]))
    assert re.search(rf"WITHDRAWN nobody is held back, for \d+ s: {WHY}$", table, re.MULTILINE), table


def test_control_that_is_taken_up_again_is_said_as_well(
    rig: Rig, policy: Steered, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    policy.withdrawn = WHY
    eventually(lambda: events(keep_io(rig), "IOControlWithdrawn") != set(), "withdrawn")
    policy.withdrawn = ""

    eventually(lambda: events(keep_io(rig), "IOControlResumed") == {"pod-high-1"}, "resumed")

    assert [record for record in caplog.records if "control_resumed" in record.getMessage()]
    eventually(
        lambda: "WITHDRAWN" not in render(json.loads(rig.get("/status")[1])), "the status says so, too"
    )


def flow(uid: str, weight: int) -> Flow:
    pod = NodePod(uid=uid, cgroup_uid=uid, namespace="n", name=uid, qos=QosClass.BURSTABLE, weight=weight)
    return Flow(pod=pod, ios_per_s=1000.0, bytes_per_s=50 * 2**20)


def test_policy_withdraws_in_the_laws_own_words_and_only_then() -> None:
    """A queue that delivers more than is let in and does not go is the one that the law gives up on."""
    policy = DrcioPolicy(Config(), Law())
    profile = VolumeProfile(iops=3000, mib_s=125)
    calm = Window(
        device=DeviceId("259:0"),
        end_s=0.0,
        span_s=0.5,
        latency_ms=0.5,
        ios_per_s=2000,
        bytes_per_s=100 * 2**20,
        in_flight=1,
        flows=(flow("h", 1000), flow("l", 10)),
        budget_used_ratio=0.9,
    )
    stuck = replace(calm, latency_ms=200.0, in_flight=512, bytes_per_s=125 * 2**20)
    seen: dict[str, str] = {}
    for index in range(60):
        window = replace(calm if index < 10 else stuck, end_s=index / 2)
        decision = policy.decide(
            View(window=window, engine=Engine.IOCOST, profile=profile, profile_known=True)
        )
        seen[decision.state] = decision.withdrawn
        assert bool(decision.withdrawn) == (Mode(decision.state) in WITHDRAWN)

    assert seen[Mode.LET_GO.value] == "a queue that does not drain is left alone"
    assert seen[Mode.HOLD.value] == ""
