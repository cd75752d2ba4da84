"""What iocost is given: a model, and a period."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.cgroupfs.parse import DeviceId
from drcio_controller.config import VolumeProfile
from drcio_controller.engines.iocost import PAGE_BYTES, PERIOD_MIN_US, UNIT_BYTES, CostModel, knobs, qos_value

GP3 = VolumeProfile(iops=3000, mib_s=125)
VOLUMES = st.builds(VolumeProfile, iops=st.integers(100, 64_000), mib_s=st.floats(10, 4000))


def true_s(profile: VolumeProfile, size: int) -> float:
    return max(1 / profile.iops, size / profile.bytes_per_s)


@given(VOLUMES)
def test_model_is_exact_for_a_page_and_for_a_unit(profile: VolumeProfile) -> None:
    model = CostModel.of(profile)
    for size in (PAGE_BYTES, UNIT_BYTES):
        assert model.cost_s(1, size) == pytest.approx(true_s(profile, size))


@given(VOLUMES, st.integers(1, UNIT_BYTES // PAGE_BYTES))
def test_model_is_never_too_cheap_in_between(profile: VolumeProfile, pages: int) -> None:
    cost_s = CostModel.of(profile).cost_s(1, pages * PAGE_BYTES)
    assert true_s(profile, pages * PAGE_BYTES) <= cost_s * (1 + 1e-9)
    assert cost_s <= 2 * true_s(profile, pages * PAGE_BYTES)


def test_rendered_model_is_the_volumes_figures_and_a_faster_device_has_more() -> None:
    assert "rbps=131072000 rseqiops=3000 rrandiops=3000" in CostModel.stated(GP3).render()
    assert "rbps=65536000 rseqiops=3000" in CostModel.doubled(GP3).faster(0.5).render()


def test_iocost_takes_half_of_its_period_as_latency_target() -> None:
    assert "rlat=14000 wpct=0.00 wlat=14000" in qos_value(28_000)
    (_, model), (qos, _) = knobs(DeviceId("259:0"), CostModel.of(GP3), 28_000).items()
    assert qos.file == "io.cost.qos"
    assert model == CostModel.of(GP3).render()


@pytest.mark.parametrize("period", [PERIOD_MIN_US, 400_000])
def test_iocosts_own_feedback_is_pinned(period: int) -> None:
    assert qos_value(period).endswith("min=100.00 max=100.00")
