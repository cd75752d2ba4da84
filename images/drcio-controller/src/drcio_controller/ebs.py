"""What Amazon EBS sells: the limits of its volumes, and a volume's text form such as `gp3:6000:250`.

The figures are those of the EBS User Guide, "Amazon EBS volume types" and "General Purpose SSD volumes".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from drcio_controller.errors import NoSuchVolume

VolumeType = Literal["gp3", "io2"]

GP3_BASE_IOPS: Final = 3000
"""What every gp3 volume has, without being paid for."""
GP3_BASE_MIB_S: Final = 125
GP3_MAX_IOPS: Final = 80_000
GP3_MAX_MIB_S: Final = 2_000
GP3_IOPS_PER_GIB: Final = 500
GP3_IOPS_PER_MIB_S: Final = 4
"""Each provisioned IOPS brings 0.25 MiB/s."""
IO2_MIN_IOPS: Final = 100
IO2_MAX_IOPS: Final = 256_000
IO2_MAX_MIB_S: Final = 4_000
IO2_IOPS_PER_MIB_S: Final = 4
"""io2 Block Express brings 0.256 MB/s for each provisioned IOPS, that is 256 kB I/Os at the full rate."""

VOLUME_FORMS: Final = "gp3, gp3:IOPS:MIBPS or io2:IOPS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume's two limits, each a bucket of its own as on EBS."""

    type: VolumeType
    iops: int
    mib_s: int

    def __post_init__(self) -> None:
        for name, value in (("IOPS", self.iops), ("MiB/s", self.mib_s)):
            if not value > 0:
                raise NoSuchVolume(f"volume's {name} is {value:g}; expected more than 0")

    @property
    def is_experimental(self) -> bool:
        """Return whether EBS does not sell this volume (a twin can have it all the same)."""
        return self.type == "gp3" and (self.iops < GP3_BASE_IOPS or self.mib_s < GP3_BASE_MIB_S)

    def __str__(self) -> str:
        if self.type == "io2":
            return f"io2:{self.iops}"
        if (self.iops, self.mib_s) == (GP3_BASE_IOPS, GP3_BASE_MIB_S):
            return "gp3"
        return f"gp3:{self.iops}:{self.mib_s}"


def parse_volume(text: str) -> Volume:
    """Parse `gp3`, `gp3:IOPS:MIBPS` or `io2:IOPS`.

    gp3 figures below what EBS sells are allowed, to try a slower device; above it they are refused.
    Raises NoSuchVolume with the form or the limit that was missed.
    """
    kind, *figures = text.strip().split(":")
    if not all(re.fullmatch(r"[0-9]{1,9}", figure) for figure in figures):
        raise _bad_volume(text, f"expected {VOLUME_FORMS} with whole numbers")
    numbers = [int(figure) for figure in figures]
    if kind == "gp3" and not numbers:
        return Volume(type="gp3", iops=GP3_BASE_IOPS, mib_s=GP3_BASE_MIB_S)
    if kind == "gp3" and len(numbers) == 2:
        iops, mib_s = numbers
        _check_range(text, "IOPS", iops, 1, GP3_MAX_IOPS)
        _check_range(text, "MiB/s", mib_s, 1, GP3_MAX_MIB_S)
        volume = Volume(type="gp3", iops=iops, mib_s=mib_s)
        if not volume.is_experimental and mib_s * GP3_IOPS_PER_MIB_S > iops:
            raise _bad_volume(
                text,
                f"{mib_s} MiB/s needs at least {mib_s * GP3_IOPS_PER_MIB_S} IOPS "
                f"(gp3 gives {1 / GP3_IOPS_PER_MIB_S} MiB/s for each)",
            )
        return volume
    if kind == "io2" and len(numbers) == 1:
        (iops,) = numbers
        _check_range(text, "IOPS", iops, IO2_MIN_IOPS, IO2_MAX_IOPS)
        return Volume(type="io2", iops=iops, mib_s=min(iops // IO2_IOPS_PER_MIB_S, IO2_MAX_MIB_S))
    raise _bad_volume(text, f"expected {VOLUME_FORMS}")


def _bad_volume(text: str, problem: str) -> NoSuchVolume:
    return NoSuchVolume(f"volume is {text!r}; {problem}")


def _check_range(text: str, name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise _bad_volume(text, f"{value} {name} is out of range; expected {low} to {high}")
