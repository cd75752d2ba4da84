"""iocost with a budget that we choose: its cost model scaled, its own feedback pinned.

Why the model and not vrate: the kernel applies a new vrate range only when it next adjusts the rate,
and on a saturated device, where nobody waits for budget, it does not adjust it at all (blk-iocost.c,
ioc_timer_fn: no shortage, so busy_level is 0, so ioc_adjust_base_vrate returns). A model counts from
the next bio on, in both directions. With vrate at 100%, `cost.usage` reads as the share of our budget.
"""

from __future__ import annotations

from typing import Final

from drcio_controller.cgroupfs.parse import DeviceId
from drcio_controller.config import VolumeProfile
from drcio_controller.knob import Knob

QOS_FILE: Final = "io.cost.qos"
MODEL_FILE: Final = "io.cost.model"

PERIOD_LATENCY_US: Final = 5000
"""iocost's period is twice the larger latency target (ioc_refresh_period_us), here 10 ms. A period is
how far a cgroup may run ahead of its share, and how long low priority stays at its bare weight after
a high-priority burst."""

IOPS_HEADROOM: Final = 2.0
"""EBS counts bytes and I/Os in two separate buckets, iocost adds the two costs. With the true IOPS
figure large I/O leaves a quarter of the bandwidth unused (measured: 93 of 125 MB/s); twice the figure
uses 114 at nearly the same latency, and the budget found at run time corrects the rest."""

MIN_BUDGET_RATIO: Final = 0.02
MAX_BUDGET_RATIO: Final = 1000.0

QOS_VALUE: Final = (
    f"enable=1 ctrl=user rpct=0.00 rlat={PERIOD_LATENCY_US} wpct=0.00 wlat={PERIOD_LATENCY_US}"
    " min=100.00 max=100.00"
)


def model_value(profile: VolumeProfile, budget_ratio: float) -> str:
    """Return the cost model in which the device can do `budget_ratio` times its profile."""
    bytes_per_s = max(1, round(profile.bytes_per_s * budget_ratio))
    iops = max(1, round(profile.iops * IOPS_HEADROOM * budget_ratio))
    return (
        "ctrl=user model=linear"
        f" rbps={bytes_per_s} rseqiops={iops} rrandiops={iops}"
        f" wbps={bytes_per_s} wseqiops={iops} wrandiops={iops}"
    )


def knobs(device: DeviceId, profile: VolumeProfile, budget_ratio: float) -> dict[Knob, str]:
    """Return what turns iocost on for one device: the model first, so that it never starts wrong."""
    return {
        Knob(MODEL_FILE, device): model_value(profile, budget_ratio),
        Knob(QOS_FILE, device): QOS_VALUE,
    }
