"""io.max: absolute limits on pods, for kernels without a proportional engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drcio_controller.kernel.knob import Knob
from drcio_controller.kernel.parse import DeviceId, Limits

LIMIT_FILE: Final = "io.max"


def knobs(device: DeviceId, caps: Mapping[str, Limits]) -> dict[Knob, str]:
    """Return the limits of each pod's cgroup on one device."""
    return {Knob(f"{cgroup}/{LIMIT_FILE}", device): limits.render() for cgroup, limits in caps.items()}
