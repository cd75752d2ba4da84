"""Describe block devices: name, serial, scheduler, and what they were provisioned with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drcio_controller.config import VolumeProfile
from drcio_controller.ebs import GP3_BASE_IOPS, GP3_BASE_MIB_S
from drcio_controller.errors import KernelFileError
from drcio_controller.kernel.files import read_text
from drcio_controller.kernel.parse import DeviceId

_NODE_MOUNTS: Final = frozenset(("/", "/etc/hosts", "/etc/hostname", "/dev/termination-log"))

EBS_MODEL: Final = "Amazon Elastic Block Store"
GP3_BASELINE: Final = VolumeProfile(iops=GP3_BASE_IOPS, mib_s=GP3_BASE_MIB_S)
"""What every gp3 volume has at least (EBS user guide); also the unit in which an unknown device is
measured. It bounds nobody: that a device can do no more, only a queue in it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A whole disk as sysfs shows it."""

    id: DeviceId
    name: str
    serial: str = ""
    model: str = ""
    scheduler: str = ""
    """The active one; empty where the device has no request queue of its own (dm, loop stacks)."""
    stacked: bool = False
    """A device-mapper or md device: its limits belong to the disks below it, and iocost refuses it."""
    node_disk: bool = False
    """The node itself runs from it: a pattern that is meant for the pods' volumes does not mean it."""

    @property
    def is_ebs(self) -> bool:
        return self.model == EBS_MODEL or (self.name.startswith("nvme") and self.serial.startswith("vol"))

    def profile(self, configured: Sequence[VolumeProfile]) -> tuple[VolumeProfile, str]:
        """Return what to start the search from, and where that knowledge comes from."""
        for volume in configured:
            if volume.matches(name=self.name, serial=self.serial, node_disk=self.node_disk):
                return volume, "configured"
        return GP3_BASELINE, "ebs" if self.is_ebs else "learning"


def describe(sys_root: Path, device: DeviceId, node_disks: Collection[DeviceId] = ()) -> Device:
    """Read one device's description; what is missing stays empty.

    Raises:
        Vanished: sysfs has no such device (any more).
    """
    link = sys_root / "dev" / "block" / device
    read_text(link / "dev")
    name = link.resolve().name
    return Device(
        id=device,
        name=name,
        serial=_optional(link / "device" / "serial") or _optional(link / "serial"),
        model=_optional(link / "device" / "model"),
        scheduler=_active_scheduler(_optional(link / "queue" / "scheduler")),
        stacked=(link / "dm").exists() or (link / "md").exists(),
        node_disk=device in node_disks,
    )


def own_mounts() -> str:
    """Return this process's mount table; empty where there is none to read."""
    try:
        return Path("/proc/self/mountinfo").read_text()
    except OSError:
        return ""


def node_disks(sys_root: Path, mountinfo: str) -> frozenset[DeviceId]:
    """Return the whole disks that hold what the node itself runs from, by a process's mount table.

    In a container these are the disks below the files that kubelet puts into every one of them; outside of
    one, the disk of `/`. `mountinfo` is the text of /proc/self/mountinfo (proc(5)).
    """
    found = set()
    for line in mountinfo.splitlines():
        words = line.split(" ")
        if len(words) > 4 and words[4] in _NODE_MOUNTS:
            found |= _whole_disks(sys_root, words[2]) or _named_disks(sys_root, line.partition(" - ")[2])
    return frozenset(found)


def _named_disks(sys_root: Path, mounted: str) -> set[DeviceId]:
    """Return the disks of a mount's source, a device's path: btrfs has a device number of no disk.

    `mounted` is what stands behind the dash: file system, source, options.
    """
    _, _, rest = mounted.partition(" ")
    source = rest.partition(" ")[0]
    name = source.rpartition("/")[2]
    if not source.startswith("/dev/") or name in ("", ".", ".."):
        return set()
    mappers = (link for link in _entries(sys_root / "block") if _optional(link / "dm" / "name") == name)
    links = [sys_root / "class" / "block" / name, *mappers]
    return set().union(*(_whole_disks(sys_root, _optional(link / "dev")) for link in links))


def _whole_disks(sys_root: Path, device: str) -> set[DeviceId]:
    """Return the disk of a partition, a stacked device with those below it; none for what is on no disk."""
    link = sys_root / "dev" / "block" / device
    if not device or not link.exists():
        return set()
    disk = link.resolve()
    folder = disk.parent if (disk / "partition").exists() else disk
    below = [_optional(slave / "dev") for slave in _entries(folder / "slaves")]
    text = _optional(folder / "dev")
    return {DeviceId(text)}.union(*(_whole_disks(sys_root, each) for each in below)) if text else set()


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _optional(path: Path) -> str:
    try:
        return read_text(path).strip()
    except KernelFileError:
        return ""


def _active_scheduler(text: str) -> str:
    return next((word[1:-1] for word in text.split() if word.startswith("[") and word.endswith("]")), "")
