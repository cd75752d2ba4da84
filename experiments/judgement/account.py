"""Read the controller's own account of a moment (its /status), as far as a verdict needs it.

Whatever is not understood is passed over: the account is another program's, and a verdict rests
first of all on what the kernel said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from experiments.records.jsonfields import JsonObject, objects

INERT: Final = "inert"


def of_device(account: JsonObject, devices: Sequence[str], name: Literal["state", "engine"]) -> str | None:
    """Return what the controller reports of the first of the devices that it knows."""
    for entry in objects(account.get("devices")):
        value = entry.get(name)
        if entry.get("device") in devices and isinstance(value, str):
            return value
    return None


def is_inert(account: JsonObject, pods: Sequence[str], devices: Sequence[str]) -> bool:
    """Return whether the controller holds a pod's weight to be without effect on one of the devices."""
    return any(
        entry.get("effect") == INERT and entry.get("device") in devices
        for pod in objects(account.get("pods"))
        if pod.get("name") in pods
        for entry in objects(pod.get("devices"))
    )
