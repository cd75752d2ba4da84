"""The step function as published, and how a look becomes the law's signals."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drcio_controller.config import Config, Engine, VolumeProfile
from drcio_controller.kernel.parse import DeviceId
from drcio_controller.kube.pod import QosClass
from drcio_controller.law.decision import Decision, Latency, View
from drcio_controller.law.drcio import (
    LISTEN_AT_ONCE,
    LISTEN_MOST_S,
    PAUSE_EXPECTED_S,
    PAUSES_UNTIL_IDLE,
    DrcioPolicy,
    work,
)
from drcio_controller.law.roles import Role, roles
from drcio_controller.law.stepwise import weights_for
from drcio_controller.pods.nodepod import NodePod
from drcio_controller.window import Flow, Window

PROFILE = VolumeProfile(iops=3000, mib_s=125)


def flow(uid: str, weight: int | None, *, ios_per_s: float = 100.0, cpu_stall: float = 0.0) -> Flow:
    pod = NodePod(uid=uid, cgroup_uid=uid, namespace="n", name=uid, qos=QosClass.BURSTABLE, weight=weight)
    return Flow(
        pod=pod,
        ios_per_s=ios_per_s,
        bytes_per_s=ios_per_s * 2**20,
        io_stall_ratio=0.9,
        cpu_stall_ratio=cpu_stall,
    )


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (2.0, (900, 100)),
        (1.3, (900, 100)),
        (1.2, (800, 200)),
        (1.0, (700, 300)),
        (0.8, (600, 400)),
        (0.1, (500, 500)),
    ],
)
def test_step_function_is_the_published_one(ratio: float, expected: tuple[int, int]) -> None:
    assert weights_for(ratio) == expected


def test_io_costs_the_larger_of_its_two_costs_and_not_their_sum() -> None:
    assert work(PROFILE, 500.0, 125 * 2**20) == pytest.approx(1.0)
    assert work(PROFILE, 3000.0, 3000 * 4096) == pytest.approx(1.0)
    assert work(PROFILE, 3000.0, 125 * 2**20) == pytest.approx(1.0)


def test_io_that_the_device_will_split_counts_as_often() -> None:
    assert work(VolumeProfile(iops=100, mib_s=1000), 10.0, 10 * 2**20) == pytest.approx(0.4)


def look(
    policy: DrcioPolicy,
    end_s: float,
    flows: tuple[Flow, ...],
    *,
    latency_ms: float = 1.0,
    engine: Engine = Engine.IOCOST,
    latencies: dict[str, Latency] | None = None,
    span_s: float = 0.5,
) -> Decision:
    window = Window(
        device=DeviceId("259:0"),
        end_s=end_s,
        span_s=span_s,
        latency_ms=latency_ms,
        ios_per_s=120,
        bytes_per_s=120 * 2**20,
        in_flight=0 if latency_ms < 10 else 64,
        flows=flows,
        budget_used_ratio=0.95 if engine is Engine.IOCOST else None,
    )
    return policy.decide(
        View(
            window=window,
            engine=engine,
            profile=PROFILE,
            profile_known=True,
            lately=[one.pod.uid for one in flows if one.active],
            latencies=latencies or {},
        )
    )


BOTH = (flow("h", 1000), flow("l", 10))


def test_queue_that_lower_classes_cause_lowers_the_budget() -> None:
    policy = DrcioPolicy(Config())
    look(policy, 1, BOTH)

    look(policy, 1.5, BOTH)
    decision = look(policy, 2, BOTH, latency_ms=300)

    assert decision.state == "drain"
    assert decision.budget_ratio < 0.8
    assert decision.terms["latency_ms"] == 300
    assert decision.look_again_s is not None


def test_queue_that_high_priority_causes_alone_lowers_nothing() -> None:
    policy = DrcioPolicy(Config())
    alone = (flow("h", 1000, ios_per_s=120), flow("l", 10, ios_per_s=0))

    decision = look(policy, 1, alone, latency_ms=300)

    assert decision.state == "idle"
    assert decision.budget_ratio >= 0.85
    assert decision.caps == {}


@pytest.mark.parametrize("engine", [Engine.IOCOST, Engine.IOMAX])
@pytest.mark.parametrize(
    ("weights", "standings"),
    [((500, 10), (10, 10)), ((150, 100), (150, None)), ((None, 100), (None, 100)), ((4000, 700), (700, 700))],
)
def test_nobody_is_held_back_for_a_peer_whatever_a_pod_asks_for_itself(
    weights: tuple[int | None, int | None], standings: tuple[int | None, int | None], engine: Engine
) -> None:
    flows = tuple(
        replace(one, pod=replace(one.pod, standing=standing))
        for one, standing in zip(
            (flow("a", weights[0]), flow("b", weights[1], ios_per_s=800.0)), standings, strict=True
        )
    )
    assert set(roles(flows).values()) == {Role.PEER}
    policy = DrcioPolicy(Config())
    for number in range(40):
        decision = look(policy, 1 + 0.5 * number, flows, engine=engine)
        assert decision.state in ("idle", "open")
        assert not decision.caps
        assert not decision.device_weights


def test_io_outside_of_pods_yields_like_a_lower_class() -> None:
    policy = DrcioPolicy(Config())
    alone = (flow("h", 1000, ios_per_s=20), flow("l", 10, ios_per_s=0))

    decisions = [look(policy, second / 2, alone) for second in range(1, 8)]

    assert decisions[-1].state == "hold"


def test_high_priority_that_is_short_of_cpu_is_reported_as_such() -> None:
    flows = (flow("h", 1000, cpu_stall=0.95), flow("l", 10))
    missed = {"h": Latency(measured_s=1.0, limit_s=0.1)}
    hungry = (
        Flow(pod=flows[0].pod, ios_per_s=1, bytes_per_s=1, io_stall_ratio=0.0, cpu_stall_ratio=0.95),
        flows[1],
    )

    decision = look(DrcioPolicy(Config()), 1, hungry, latencies=missed)

    assert "short of CPU" in decision.reason
    assert decision.state != "drain"


def test_without_iocost_limits_on_those_who_yield_are_the_budget() -> None:
    policy = DrcioPolicy(Config(engine=Engine.IOMAX))
    look(policy, 1, BOTH, engine=Engine.IOMAX)

    decision = look(policy, 2, BOTH, engine=Engine.IOMAX)

    assert set(decision.caps) == {"l"}
    limits = decision.caps["l"]
    assert None not in (limits.rbps, limits.wbps, limits.riops, limits.wiops)
    assert (limits.rbps or 0) + (limits.wbps or 0) < PROFILE.bytes_per_s / 2


def test_protected_pods_weigh_what_gives_them_their_share_on_this_device_only() -> None:
    flows = (flow("h", 1000), flow("l", 10), flow("u", None))

    decision = look(DrcioPolicy(Config()), 1, flows)

    (weight,) = decision.device_weights.values()
    assert weight / (weight + 10 + 100) == pytest.approx(0.75, abs=0.2)
    assert decision.weights == {}
    bfq = look(DrcioPolicy(Config()), 1, flows, engine=Engine.BFQ)
    assert bfq.device_weights == {}  # its scheduler knows no credit that would be spent at once


def test_protected_pod_that_long_did_nothing_takes_no_part_of_the_others_share() -> None:
    flows = (flow("h", 1000), flow("l", 10))
    (alone,) = look(DrcioPolicy(Config()), 1, flows).device_weights.values()

    beside = look(DrcioPolicy(Config()), 1, (*flows, flow("idle", 1000, ios_per_s=0))).device_weights

    assert beside == {"h": alone, "idle": alone}


@pytest.mark.parametrize("unmanaged", [0, 20])
@pytest.mark.parametrize("high", [1000, 10000])
@pytest.mark.parametrize(("low", "yielding"), [(10, 1), (10, 400), (100, 40), (100, 110), (499, 250)])
def test_protected_pods_have_their_share_however_many_yield(
    yielding: int, low: int, high: int, unmanaged: int
) -> None:
    flows = (
        flow("h", high, ios_per_s=10.0),
        *(flow(f"l{number}", low) for number in range(yielding)),
        *(flow(f"u{number}", None) for number in range(unmanaged)),
    )
    decision = look(DrcioPolicy(Config()), 1, flows)
    weights = {one.pod.uid: decision.device_weights.get(one.pod.uid, one.pod.ranked_weight) for one in flows}
    share = weights["h"] / sum(weights.values())
    # The unmanaged cannot be made lighter.
    assert share == pytest.approx(0.75, abs=0.1 if unmanaged else 0.04)
    assert all(1 <= weight <= 10000 for weight in weights.values())


def test_protected_pods_that_do_io_divide_the_share() -> None:
    flows = (flow("h", 1000), flow("l", 10))
    (alone,) = look(DrcioPolicy(Config()), 1, flows).device_weights.values()

    beside = look(DrcioPolicy(Config()), 1, (*flows, flow("other", 600))).device_weights

    assert sum(beside.values()) == pytest.approx(alone, abs=1)
    assert beside["h"] == pytest.approx(beside["other"] * 5 / 3, abs=2)


def test_protected_pod_of_which_nothing_is_known_is_listened_to_between_decisions() -> None:
    policy, now_s = DrcioPolicy(Config()), 1.0
    decided = look(policy, now_s, BOTH)
    spans = []
    for _ in range(LISTEN_AT_ONCE):
        assert decided.look_again_s is not None
        spans.append(decided.look_again_s)
        now_s += decided.look_again_s
        heard = look(policy, now_s, BOTH, span_s=decided.look_again_s)
        assert (heard.state, heard.model, heard.period_us) == (
            decided.state,
            decided.model,
            decided.period_us,
        )
        decided = heard

    assert len(set(spans)) > 1
    assert all(span_s <= LISTEN_MOST_S for span_s in spans)
    assert (decided.look_again_s or 0.0) > LISTEN_MOST_S


def test_steady_pod_is_listened_to_seldom_once_it_is_known() -> None:
    policy, now_s, short, ordinary = DrcioPolicy(Config()), 1.0, 0, 0
    decided = look(policy, now_s, BOTH)
    while now_s < 60.0:
        span_s = decided.look_again_s or 0.5
        now_s += span_s
        decided = look(policy, now_s, BOTH, span_s=span_s)
        short += now_s > 30 and span_s <= LISTEN_MOST_S
        ordinary += now_s > 30 and span_s > LISTEN_MOST_S

    assert 0 < short <= 0.26 * ordinary
    assert ordinary <= 61


def test_interval_as_short_as_a_short_look_is_decided_at_all_the_same() -> None:
    policy = DrcioPolicy(Config())
    states = {look(policy, 1 + index * 0.05, BOTH, span_s=0.05).state for index in range(200)}

    assert "hold" in states


def test_pod_that_pauses_at_times_is_not_idle_in_its_next_pause() -> None:
    policy = DrcioPolicy(Config())
    pausing = (flow("h", 1000, ios_per_s=0), flow("l", 10))
    states = []
    for second in range(1, 25):
        active = second % 4 == 0
        states.append(look(policy, second, BOTH if active else pausing).state)

    assert "open" not in states[4:]


def test_limits_go_when_high_priority_is_idle() -> None:
    policy = DrcioPolicy(Config(engine=Engine.IOMAX))
    look(policy, 1, BOTH, engine=Engine.IOMAX)
    idle = (flow("h", 1000, ios_per_s=0), flow("l", 10))

    decision = look(policy, 1 + PAUSES_UNTIL_IDLE * PAUSE_EXPECTED_S + 0.1, idle, engine=Engine.IOMAX)

    assert decision.state == "open"
    assert decision.caps == {}
