"""What iocost is given: the model, and a period that lets bursts pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.cgroupfs.parse import DeviceId
from drcio_controller.config import VolumeProfile
from drcio_controller.engines.iocost import (
    BURST_READS,
    IOPS_HEADROOM,
    PERIOD_MAX_US,
    PERIOD_MIN_US,
    PERIOD_TOLERANCE,
    knobs,
    period_us,
    qos_value,
)

GP3 = VolumeProfile(iops=3000, mib_s=125)


def test_period_lets_a_burst_of_small_reads_pass_at_once() -> None:
    for capacity in (0.45, 0.8, 1.0):
        period_s = period_us(GP3, capacity, PERIOD_MIN_US) / 1e6
        assert period_s / 2 * GP3.iops * IOPS_HEADROOM * capacity >= BURST_READS / PERIOD_TOLERANCE


def test_period_is_short_where_the_device_is_fast_and_bounded_where_it_is_slow() -> None:
    assert period_us(VolumeProfile(iops=64_000, mib_s=1000), 1.0, 30_000) == PERIOD_MIN_US
    assert period_us(GP3, 0.02, PERIOD_MIN_US) == PERIOD_MAX_US


@given(st.floats(0.02, 400), st.integers(PERIOD_MIN_US, PERIOD_MAX_US), st.floats(1, 1.3))
def test_small_changes_of_the_capacity_leave_the_period(capacity: float, present: int, factor: float) -> None:
    settled = period_us(GP3, capacity, present)
    assert PERIOD_MIN_US <= settled <= PERIOD_MAX_US
    if settled != present:
        assert period_us(GP3, capacity * factor, settled) == settled


def test_iocost_takes_half_of_its_period_as_latency_target() -> None:
    assert "rlat=14000 wpct=0.00 wlat=14000" in qos_value(28_000)
    (_, model), (qos, _) = knobs(DeviceId("259:0"), GP3, 0.5, 28_000).items()
    assert qos.file == "io.cost.qos"
    assert "rbps=65536000 rseqiops=3000" in model


@pytest.mark.parametrize("period", [PERIOD_MIN_US, PERIOD_MAX_US])
def test_iocosts_own_feedback_is_pinned(period: int) -> None:
    assert qos_value(period).endswith("min=100.00 max=100.00")
