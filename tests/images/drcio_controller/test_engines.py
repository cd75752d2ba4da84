"""What iocost is given: a model, and a period."""

import pytest

from drcio_controller.config import VolumeProfile
from drcio_controller.engines.iocost import PERIOD_MIN_US, CostModel, knobs, qos_value
from drcio_controller.kernel.parse import DeviceId

GP3 = VolumeProfile(iops=3000, mib_s=125)


def test_rendered_model_is_the_volumes_figures_and_a_faster_device_has_more() -> None:
    assert "rbps=131072000 rseqiops=3000 rrandiops=3000" in CostModel.stated(GP3).render()
    assert "rbps=65536000 rseqiops=3000" in CostModel.doubled(GP3).faster(0.5).render()


def test_iocost_takes_half_of_its_period_as_latency_target() -> None:
    assert "rlat=14000 wpct=0.00 wlat=14000" in qos_value(28_000)
    (_, model), (qos, _) = knobs(DeviceId("259:0"), CostModel.stated(GP3), 28_000).items()
    assert qos.file == "io.cost.qos"
    assert model == CostModel.stated(GP3).render()


@pytest.mark.parametrize("period", [PERIOD_MIN_US, 400_000])
def test_iocosts_own_feedback_is_pinned(period: int) -> None:
    assert qos_value(period).endswith("min=100.00 max=100.00")
