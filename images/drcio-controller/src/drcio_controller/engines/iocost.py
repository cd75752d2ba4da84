"""iocost with a budget that we choose: its cost model scaled, its own feedback pinned.

Why the model and not vrate: the kernel applies a new vrate range only when it next adjusts the rate,
and on a saturated device, where nobody waits for budget, it does not adjust it at all (blk-iocost.c,
ioc_timer_fn: no shortage, so busy_level is 0, so ioc_adjust_base_vrate returns). A model counts from
the next bio on, in both directions. With vrate at 100%, `cost.usage` reads as the share of our budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from drcio_controller.config import VolumeProfile
from drcio_controller.kernel.knob import Knob
from drcio_controller.kernel.parse import DeviceId

QOS_FILE: Final = "io.cost.qos"
MODEL_FILE: Final = "io.cost.model"

TICK_US: Final = 4_000
"""One jiffy of a kernel with HZ=250, as EKS nodes and Debian have it. iocost's timer has no finer one: a
period between two of them runs over, and what it gave back for it is given twice."""
PERIOD_MIN_US: Final = 3 * TICK_US

IOPS_HEADROOM: Final = 2.0
"""Of the fixed model that a measured sweep found best for large I/O, `CostModel.doubled`."""

PAGE_BYTES: Final = 4096
UNIT_BYTES: Final = 256 << 10
"""EBS counts an I/O of up to this size as one, and its NVMe device takes none that is larger."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """iocost's linear model: so much for each I/O, so much for each page of 4 KiB."""

    io_s: float
    page_s: float

    @classmethod
    def stated(cls, profile: VolumeProfile) -> CostModel:
        """Return the model of the volume's two figures as they are; the kernel adds the two costs."""
        page_s = PAGE_BYTES / profile.bytes_per_s
        return cls(io_s=max(0.0, 1 / profile.iops - page_s), page_s=page_s)

    @classmethod
    def doubled(cls, profile: VolumeProfile) -> CostModel:
        """Return the model of twice the volume's IOPS."""
        page_s = PAGE_BYTES / profile.bytes_per_s
        return cls(io_s=max(0.0, 1 / (profile.iops * IOPS_HEADROOM) - page_s), page_s=page_s)

    def faster(self, ratio: float) -> CostModel:
        """Return the model of a device that does `ratio` times as much."""
        return CostModel(self.io_s / ratio, self.page_s / ratio)

    def render(self) -> str:
        """Return the model as `io.cost.model` takes it; the kernel takes the page off an I/O's cost."""
        bytes_per_s = max(1, min(2**63 - 1, round(PAGE_BYTES / max(self.page_s, 1e-12))))
        iops = max(1, round(1 / (self.io_s + self.page_s)))
        return (
            "ctrl=user model=linear"
            f" rbps={bytes_per_s} rseqiops={iops} rrandiops={iops}"
            f" wbps={bytes_per_s} wseqiops={iops} wrandiops={iops}"
        )


def qos_value(period_us: int) -> str:
    """Return the settings that turn iocost on with this period and its own feedback pinned.

    The period is twice the larger latency target (ioc_refresh_period_us).
    """
    target_us = period_us // 2
    return f"enable=1 ctrl=user rpct=0.00 rlat={target_us} wpct=0.00 wlat={target_us} min=100.00 max=100.00"


def knobs(device: DeviceId, model: CostModel, period_us: int) -> dict[Knob, str]:
    """Return what turns iocost on for one device: the model first, so that it never starts wrong."""
    return {
        Knob(MODEL_FILE, device): model.render(),
        Knob(QOS_FILE, device): qos_value(period_us),
    }
