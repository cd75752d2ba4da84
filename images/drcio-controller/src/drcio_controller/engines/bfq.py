"""BFQ: its scheduler on the device, its own weight files in the cgroups."""

from __future__ import annotations

from typing import Final

from drcio_controller.kernel.devices import Device
from drcio_controller.kernel.knob import Knob

SCHEDULER: Final = "bfq"
WEIGHT_FILE: Final = "io.bfq.weight"
WEIGHT_LIMIT: Final = 1000


def knobs(device: Device) -> dict[Knob, str]:
    """Return what makes BFQ the device's scheduler; needs a writable sysfs."""
    return {Knob(f"block/{device.name}/queue/scheduler", device.id, in_sysfs=True): SCHEDULER}
