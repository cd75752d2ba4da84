"""Read the text of the root's `io.cost.qos` and `io.cost.model`, as samples keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def device_fields(text: str, devices: Sequence[str]) -> Mapping[str, str] | None:
    """Return the `key=value` words of the first line about one of the devices; None if there is none."""
    for line in text.splitlines():
        device, *words = line.split() or [""]
        if device in devices:
            return dict(word.split("=", 1) for word in words if "=" in word)
    return None
