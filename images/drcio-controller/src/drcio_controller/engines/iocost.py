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

PERIOD_MIN_US: Final = 10_000
PERIOD_MAX_US: Final = 50_000
PERIOD_TOLERANCE: Final = 1.4
"""A period within this factor of the wanted one stays: writing `io.cost.qos` quiesces the queue."""

BURST_READS: Final = 40
"""Small reads that a cgroup with a high weight may do at once, ahead of its share."""

IOPS_HEADROOM: Final = 2.0
"""EBS counts bytes and I/Os in two separate buckets, iocost adds the two costs. With the true IOPS
figure large I/O leaves a quarter of the bandwidth unused (measured: 93 of 125 MB/s); twice the figure
uses 114 at nearly the same latency, and the budget found at run time corrects the rest."""

MIN_BUDGET_RATIO: Final = 0.02
MAX_BUDGET_RATIO: Final = 1000.0


def model_value(profile: VolumeProfile, budget_ratio: float) -> str:
    """Return the cost model in which the device can do `budget_ratio` times its profile."""
    bytes_per_s = max(1, round(profile.bytes_per_s * budget_ratio))
    iops = max(1, round(profile.iops * IOPS_HEADROOM * budget_ratio))
    return (
        "ctrl=user model=linear"
        f" rbps={bytes_per_s} rseqiops={iops} rrandiops={iops}"
        f" wbps={bytes_per_s} wseqiops={iops} wrandiops={iops}"
    )


def period_us(profile: VolumeProfile, budget_ratio: float, present_us: int) -> int:
    """Return iocost's period for a device of about this budget, in microseconds.

    An idle cgroup that comes back may be ahead of its share by half a period (MARGIN_TARGET_PCT), so the
    period decides whether a burst passes at once or at the budget's pace (measured with a batch job of
    4 KiB reads on 3000 IOPS: fetch p50 10 ms at a period of 10 ms, 4 ms at 30 ms, 3.8 ms alone). It is
    also how long low priority stays at its bare weight after a burst, so it is no longer than needed.
    """
    burst_s = BURST_READS / (profile.iops * IOPS_HEADROOM * budget_ratio)
    wanted_us = min(PERIOD_MAX_US, max(PERIOD_MIN_US, round(2 * burst_s * 1e6)))
    if wanted_us / PERIOD_TOLERANCE <= present_us <= wanted_us * PERIOD_TOLERANCE:
        return present_us
    return wanted_us


def qos_value(period_us: int) -> str:
    """Return the settings that turn iocost on with this period and its own feedback pinned.

    The period is twice the larger latency target (ioc_refresh_period_us).
    """
    target_us = period_us // 2
    return f"enable=1 ctrl=user rpct=0.00 rlat={target_us} wpct=0.00 wlat={target_us} min=100.00 max=100.00"


def knobs(device: DeviceId, profile: VolumeProfile, budget_ratio: float, period_us: int) -> dict[Knob, str]:
    """Return what turns iocost on for one device: the model first, so that it never starts wrong."""
    return {
        Knob(MODEL_FILE, device): model_value(profile, budget_ratio),
        Knob(QOS_FILE, device): qos_value(period_us),
    }
