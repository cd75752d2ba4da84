"""One kernel knob: where it is, how its file is read, and how it is written.

A knob is one entry of one kernel file: the default weight, the weight on one device, one device's
line of `io.max`. Its value here is a canonical string, so that two values can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from drcio_controller.kernel.files import read_text
from drcio_controller.kernel.parse import (
    DeviceId,
    Limits,
    parse_controllers,
    parse_io_max,
    parse_settings,
    parse_weights,
)

SUBTREE_FILE: Final = "cgroup.subtree_control"
DEFAULT_KEY: Final = "default"
ABSENT: Final = "absent"
"""Canonical value of a device entry that the file does not hold."""


_FILES: Final = frozenset(
    {"io.weight", "io.bfq.weight", "io.max", "io.cost.qos", "io.cost.model", SUBTREE_FILE, "scheduler"}
)


class Knob(NamedTuple):
    """One entry of one kernel file; `file` is relative to the cgroup root, or to sysfs.

    A named tuple, because it is hashed a few times per pod and tick.
    """

    file: str
    key: str = DEFAULT_KEY
    in_sysfs: bool = False

    @property
    def name(self) -> str:
        """Return the file's own name."""
        return self.file.rpartition("/")[2]

    @property
    def device(self) -> DeviceId | None:
        """Return the device that it is about; None for the node as a whole."""
        return DeviceId(self.key) if ":" in self.key else None

    @property
    def known(self) -> bool:
        """Return whether it is a kind of knob that this program sets, below the tree that it is of."""
        return self.name in _FILES and not self.file.startswith("/") and ".." not in self.file.split("/")

    @property
    def switches_controller(self) -> bool:
        """Return whether other knobs' files come and go with it."""
        return self.file.endswith(SUBTREE_FILE)

    def __str__(self) -> str:
        return f"{self.file}[{self.key}]"


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the kernel's trees are mounted for this process."""

    cgroup: Path
    sys: Path

    def path(self, knob: Knob) -> str:
        """Return where a knob's file is."""
        return f"{self.sys if knob.in_sysfs else self.cgroup}/{knob.file}"

    def folder(self, knob: Knob) -> str:
        """Return the folder of a knob's file."""
        return self.path(knob).rpartition("/")[0]


def read_knob(roots: Roots, knob: Knob) -> str:
    """Return a knob's canonical value.

    Raises:
        KernelFileError: the file is gone, unreadable or malformed.
    """
    text = read_text(roots.path(knob))
    device = DeviceId(knob.key)
    match knob.name:
        case "io.weight" | "io.bfq.weight":
            weights = parse_weights(text)
            if knob.key == DEFAULT_KEY:
                return str(weights.default)
            return str(weights.per_device[device]) if device in weights.per_device else ABSENT
        case "io.max":
            return parse_io_max(text).get(device, Limits()).render()
        case "io.cost.qos" | "io.cost.model":
            settings = parse_settings(text, knob.name).get(device)
            return (
                ABSENT if settings is None else " ".join(f"{key}={value}" for key, value in settings.items())
            )
        case "cgroup.subtree_control":
            return "on" if knob.key in parse_controllers(text) else "off"
        case "scheduler":
            return next((word[1:-1] for word in text.split() if word.startswith("[")), "none")
        case name:
            raise AssertionError(f"no reader for {name}")


def render_write(knob: Knob, value: str, found: str = "") -> str:
    """Return the text that makes a knob hold a canonical value.

    `found` is what it holds now, where that is known: of a limit, only what differs is written, for each
    key that is written starts its throttling anew (blk-throttle.c, tg_conf_updated).
    """
    match knob.name:
        case "io.weight" | "io.bfq.weight":
            return f"{knob.key} {'default' if value == ABSENT else value}"
        case "io.cost.qos" if value == ABSENT:
            # There is no way to remove a line: a disabled one with automatic parameters acts the same.
            return f"{knob.key} enable=0 ctrl=auto"
        case "io.cost.model" if value == ABSENT:
            return f"{knob.key} ctrl=auto"
        case "io.cost.qos" | "io.cost.model" if "ctrl=auto" in value.split():
            # With ctrl=auto the kernel refuses to be told the parameters that it then chooses itself.
            kept = [word for word in value.split() if word.startswith(("enable=", "ctrl="))]
            return f"{knob.key} {' '.join(kept)}"
        case "io.max":
            kept = found.split()
            return " ".join([knob.key, *(word for word in value.split() if word not in kept)])
        case "io.cost.qos" | "io.cost.model":
            return f"{knob.key} {value}"
        case "cgroup.subtree_control":
            return f"{'+' if value == 'on' else '-'}{knob.key}"
        case _:
            return value


def holds(knob: Knob, wanted: str, found: str) -> bool:
    """Return whether a file's value is what was asked for; settings may show more keys than were set."""
    if knob.name in ("io.cost.qos", "io.cost.model"):
        return set(wanted.split()) <= set(found.split())
    return wanted == found
