"""Choose what acts on a device: the best engine that neither the device nor the kernel refuses."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from drcio_controller.config import Engine
from drcio_controller.kernel.devices import Device

LADDER: Final = (Engine.IOCOST, Engine.BFQ, Engine.IOMAX)


def choose(asked: Engine, device: Device, refused: Collection[Engine]) -> tuple[Engine, str]:
    """Return the engine for a device, and why it is not a better one (empty if it is the best).

    `refused` are the engines whose knobs the kernel turned down when they were tried.
    """
    if asked is Engine.NONE:
        return Engine.NONE, "configured to leave the device alone"
    reasons: list[str] = []
    for engine in LADDER if asked is Engine.AUTO else (asked,):
        obstacle = _obstacle(engine, device)
        if engine in refused:
            obstacle = "the kernel refused it"
        if obstacle is None:
            return engine, "; ".join(reasons)
        reasons.append(f"{engine}: {obstacle}")
    return Engine.NONE, "; ".join(reasons)


def _obstacle(engine: Engine, device: Device) -> str | None:
    """Return what is known to be in the way without trying.

    Not BFQ's absence from the device's schedulers: the kernel loads its module when it is asked for.
    """
    if engine is Engine.IOCOST and device.stacked:
        return "a stacked device has no request queue for it"
    return None
