"""What an instance can do with all of its volumes is a limit of its own, above theirs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.config import Config, Engine, VolumeProfile
from drcio_controller.instance import _TABLE, InstanceLimit, limit_of, valid_type
from drcio_controller.kernel.parse import DeviceId
from drcio_controller.kube.pod import QosClass
from drcio_controller.law.decision import Decision, InstanceLoad, View
from drcio_controller.law.drcio import DrcioPolicy
from drcio_controller.pods.nodepod import NodePod
from drcio_controller.window import Flow, Window


@pytest.mark.parametrize(
    ("name", "mb_s", "iops", "burst_mb_s", "burst_iops"),
    [
        ("t3.xlarge", 86.875, 4000, 347.5, 15_700),
        ("m5.xlarge", 143.75, 6000, 593.75, 18_750),
        ("m6i.xlarge", 156.25, 6000, 1250, 40_000),
        ("m6i.12xlarge", 1875, 60_000, 1875, 60_000),
        ("c5a.large", 25, 800, 396.25, 13_300),
        ("t4g.2xlarge", 256, 4000, 434.375, 15_700),
    ],
)
def test_figures_are_those_of_the_user_guide(
    name: str, mb_s: float, iops: float, burst_mb_s: float, burst_iops: float
) -> None:
    limit = limit_of(name)

    assert limit is not None
    assert (limit.baseline_bytes_per_s, limit.baseline_iops) == (mb_s * 1e6, iops)
    assert (limit.burst_bytes_per_s, limit.burst_iops) == (burst_mb_s * 1e6, burst_iops)


@pytest.mark.parametrize("name", _TABLE)
def test_no_instance_bursts_below_its_baseline(name: str) -> None:
    limit = limit_of(name)

    assert limit is not None
    assert valid_type(name)
    assert 0 < limit.baseline_bytes_per_s <= limit.burst_bytes_per_s
    assert 0 < limit.baseline_iops <= limit.burst_iops


@pytest.mark.parametrize("name", ["", "m5", "x9.huge", "m6i.xlarge "])
def test_type_that_is_not_in_the_table_has_no_limit(name: str) -> None:
    assert limit_of(name) is None


@given(st.text())
def test_any_label_is_a_type_or_none(text: str) -> None:
    if valid_type(text):
        assert text.isascii()
        assert len(text) < 64


LIMIT = InstanceLimit(
    type="x", baseline_bytes_per_s=100e6, baseline_iops=4000, burst_bytes_per_s=300e6, burst_iops=9000
)


def view(load: InstanceLoad | None) -> View:
    window = Window(
        device=DeviceId("259:0"),
        end_s=1,
        span_s=1,
        latency_ms=1,
        ios_per_s=1,
        bytes_per_s=1,
        in_flight=0,
        flows=(),
    )
    return View(
        window=window,
        engine=Engine.IOCOST,
        profile=VolumeProfile(iops=3000, mib_s=125),
        profile_known=True,
        instance=load,
    )


def test_volume_reaches_what_the_instance_has_where_that_is_less() -> None:
    reachable = view(InstanceLoad(limit=LIMIT)).reachable

    assert reachable.bytes_per_s == 100e6
    assert reachable.iops == 3000


def test_what_other_volumes_use_is_not_there_for_this_one() -> None:
    load = InstanceLoad(limit=LIMIT, volumes=2, others_bytes_per_s=30e6, others_ios_per_s=1500)

    assert view(load).reachable.bytes_per_s == 70e6
    assert view(load).reachable.iops == 2500


def test_each_volume_reaches_its_part_however_much_the_others_use() -> None:
    load = InstanceLoad(limit=LIMIT, volumes=2, others_bytes_per_s=300e6, others_ios_per_s=9000)

    assert view(load).reachable.bytes_per_s == 50e6
    assert view(load).reachable.iops == 2000


def test_unknown_instance_limits_nothing() -> None:
    assert view(None).reachable == VolumeProfile(iops=3000, mib_s=125)


def decisions(*views: View) -> list[Decision]:
    """Return what one policy decides of these, one after the other."""
    policy = DrcioPolicy(Config())
    return [
        policy.decide(replace(one, window=replace(one.window, end_s=float(index + 1))))
        for index, one in enumerate(views)
    ]


def busy(load: InstanceLoad | None, profile: VolumeProfile | None = None) -> View:
    """Return a look at a volume on which a high and a low pod do I/O."""
    flows = tuple(
        Flow(
            pod=NodePod(
                uid=uid, cgroup_uid=uid, namespace="n", name=uid, qos=QosClass.BURSTABLE, weight=weight
            ),
            ios_per_s=200,
            bytes_per_s=25e6,
        )
        for uid, weight in (("h", 1000), ("l", 10))
    )
    whole = view(load)
    window = replace(whole.window, flows=flows, ios_per_s=400, bytes_per_s=50e6)
    return replace(whole, window=window, profile=profile or whole.profile)


def test_law_lets_in_what_the_instance_has_and_not_what_the_volume_promises() -> None:
    smaller = VolumeProfile(iops=3000, mib_s=100e6 / 2**20)

    limited = decisions(*[busy(InstanceLoad(limit=LIMIT))] * 5)

    assert [one.model for one in limited] == [one.model for one in decisions(*[busy(None, smaller)] * 5)]
    assert limited[-1].model != decisions(*[busy(None)] * 5)[-1].model


def test_other_volumes_that_use_a_little_more_or_less_cost_no_write() -> None:
    loads = [
        InstanceLoad(limit=LIMIT, volumes=2, others_bytes_per_s=20e6 + wobble)
        for wobble in (0, 2e6, -3e6, 3e6, -4e6)
    ]

    assert len({one.model for one in decisions(*map(busy, loads))}) == 1


def test_other_volume_that_begins_takes_its_part_at_once() -> None:
    idle, begun = (InstanceLoad(limit=LIMIT, volumes=2, others_bytes_per_s=used) for used in (0.0, 60e6))

    first, second = decisions(busy(idle), busy(begun))

    assert first.model is not None
    assert second.model is not None
    assert second.model.page_s > 1.5 * first.model.page_s
