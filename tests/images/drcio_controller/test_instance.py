"""What an instance can do with all of its volumes is a limit of its own, above theirs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.cgroupfs.parse import DeviceId
from drcio_controller.config import Engine, VolumeProfile
from drcio_controller.instance import _TABLE, InstanceLimit, limit_of, valid_type
from drcio_controller.policies.decision import InstanceLoad, View
from drcio_controller.window import Window


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
    assert limit.bursts == (burst_mb_s > mb_s)


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
