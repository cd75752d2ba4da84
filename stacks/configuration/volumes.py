"""How a user describes a volume that is there already: `DEVICE=VOLUME`, as in `vol*=gp3:6000:250`."""

from __future__ import annotations

import re
from typing import Final

from drcio_controller.config import VolumeProfile
from drcio_controller.ebs import Volume, parse_volume
from drcio_controller.errors import NoSuchVolume

FORM: Final = "DEVICE=VOLUME such as vol*=gp3:6000:250"
# A comma would end the list's entry.
_TOLD = re.compile(r"(?P<device>[^\s,=]{1,64})=(?P<volume>[^=]*)\Z")


def parse_told(text: str) -> tuple[str, Volume]:
    """Return the device, a shell pattern on a disk's serial or kernel name, and what the volume can do.

    Raises:
        NoSuchVolume: the text has another form, or there is no such volume.
    """
    found = _TOLD.match(text)
    if found is None:
        raise NoSuchVolume(f"{text[:80]!r} names no device; expected {FORM}")
    return found["device"], parse_volume(found["volume"])


def profiles(text: str) -> tuple[VolumeProfile, ...]:
    """Return the profile for the controller: what is known of a disk on a node is its serial and its name."""
    device, volume = parse_told(text)
    by_serial = VolumeProfile(iops=volume.iops, mib_s=float(volume.mib_s), serial=device)
    by_name = VolumeProfile(iops=volume.iops, mib_s=float(volume.mib_s), name=device)
    return tuple(dict.fromkeys((by_serial, by_name)))


def told_volume(text: str) -> str | None:
    """Accept what `parse_told` reads: a check of `stacks.configuration.checks`' kind."""
    try:
        parse_told(text)
    except NoSuchVolume as error:
        return f"{FORM}: {error}"
    return None
