"""In the guest: start the volumes' server and give each volume the look of an EBS NVMe device.

The server (`node_twin/volume/device`) makes block devices that take their time as EBS does, in the
guest's own time. In front of each stands the kernel's NVMe target with a way back to this machine, so that
whatever looks for an EBS volume finds one: `nvme0n1`, with queues, `vol...` as serial, EBS's model name.

On Linux 6.12 the drivers are ublk and nvme-loop, which passes pages on without a copy. Debian's 6.1 has
neither: nbd and NVMe over TCP do the same there, for several times the CPU a byte.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

EBS_MODEL: Final = "Amazon Elastic Block Store"
MAX_SECTORS_KIB: Final = 256
"""An EBS device takes at most 256 KiB a request (`max_hw_sectors_kb` on a node)."""
_CONTROL: Final = Path("/run/twin-volumes.sock")
_CONFIGFS: Final = Path("/sys/kernel/config")
_BLOCK: Final = Path("/sys/block")
_PCI: Final = Path("/sys/bus/pci/devices")
_NEVER_S: Final = 4_000_000
"""A paused volume is waited for, as EBS's documentation asks ("NVMe I/O operation timeout")."""
_PATIENCE_S: Final = 120.0
_LOOK_EVERY_S: Final = 0.02


class DeviceError(OSError):
    """The guest's kernel or the server could not make the volumes; the message names the part."""


@dataclass(frozen=True, kw_only=True)
class GuestVolume:
    """One volume as the host describes it."""

    claim: str
    serial: str
    settings: str
    """The server's `--volume` option, without its serial and its memory."""
    pci_slot: str
    """Slot of the PCI device whose memory holds the bytes, such as "10"."""


def parse_guest_volume(text: str) -> GuestVolume:
    """Read `CLAIM=SERIAL@SLOT:SETTINGS`, as `VolumeImage.guest_option` writes it."""
    found = re.fullmatch(r"(?P<claim>[^=]+)=(?P<serial>[^@]+)@(?P<slot>[0-9a-f]{2}):(?P<settings>.+)", text)
    if found is None:
        raise ValueError(f"{text!r}; expected CLAIM=SERIAL@SLOT:SETTINGS")
    return GuestVolume(
        claim=found["claim"], serial=found["serial"], pci_slot=found["slot"], settings=found["settings"]
    )


class BlockDevices:
    """The volumes while they are served."""

    def __init__(
        self, server: subprocess.Popen[str], names: Mapping[str, str], serials: Mapping[str, str]
    ) -> None:
        self._server = server
        self.serials: Final = dict(serials)
        """Claim -> serial, by which the server's commands name a volume."""
        self.names: Final = dict(names)
        """Claim -> name of its block device."""

    def ask(self, command: str) -> str:
        """Send the server a command (see `control.c`) and return its answer.

        Raises `DeviceError` with the server's reason when it refuses, or when it is gone.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.bind("")  # a name of the kernel's choosing, to be answered at
            try:
                channel.sendto(command.encode(), str(_CONTROL))
                answer = channel.recv(1 << 16).decode()
            except OSError as error:
                raise DeviceError(f"the volumes' server does not answer {command!r}: {error}") from error
        if answer.startswith("error: "):
            raise DeviceError(f"{command}: {answer.removeprefix('error: ').strip()}")
        return answer.removesuffix("ok\n")


def start(server: Path, volumes: Sequence[GuestVolume]) -> BlockDevices:
    """Start serving the volumes; they are served until the guest ends.

    Raises `DeviceError` when the kernel lacks a driver or the server does not come up.
    """
    transport = _block_driver()
    queues = os.cpu_count() or 1
    process = subprocess.Popen(
        [
            str(server),
            *("--control", str(_CONTROL), "--queues", str(queues), "--transport", transport),
            *(word for volume in volumes for word in ("--volume", _server_option(volume))),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    words = (process.stdout.readline() if process.stdout else "").split()
    if words[:1] != ["ready"]:
        raise DeviceError(f"the volumes' server ended with status {process.wait()} before it was ready")
    behind = dict(word.split("=") for word in words[1:])
    names = {}
    front = _nvme_target()
    for volume in volumes:
        _leave_alone(behind[volume.serial])
        names[volume.claim] = _as_nvme(front, volume.serial, behind[volume.serial], queues)
    return BlockDevices(process, names, {volume.claim: volume.serial for volume in volumes})


def _server_option(volume: GuestVolume) -> str:
    device = _PCI / f"0000:00:{volume.pci_slot}.0"
    if not device.is_dir():
        raise DeviceError(
            f"no PCI device in slot {volume.pci_slot} with the memory of volume {volume.serial}"
        )
    (device / "enable").write_text("1")
    return f"serial={volume.serial},memory={device / 'resource2_wc'},{volume.settings}"


def _block_driver() -> str:
    """Load a driver that lets a program be a block device, and return the server's name for it."""
    if _loaded("ublk_drv"):
        return "ublk"
    if _loaded("nbd", "nbds_max=8", "max_part=0"):
        return "nbd"
    raise DeviceError(
        f"kernel {os.uname().release} has neither ublk_drv nor nbd, on one of which the volumes stand"
    )


def _loaded(module: str, *options: str) -> bool:
    return subprocess.run(["modprobe", "-q", module, *options], check=False).returncode == 0


def _leave_alone(device: str) -> None:
    """Let requests through as they come: what the kernel does with them, it does on the device in front."""
    queue = _BLOCK / device / "queue"
    for name, value in (("scheduler", "none"), ("nomerges", "2"), ("wbt_lat_usec", "0")):
        with contextlib.suppress(FileNotFoundError):
            (queue / name).write_text(value)


@dataclass(frozen=True, kw_only=True)
class _Target:
    """The kernel's NVMe target: its port's folder, and how to connect to it."""

    port: Path
    connect: str


def _nvme_target() -> _Target:
    """Set up the kernel's NVMe target with a port to this machine itself."""
    # Without multipath the namespace is a disk with queues of its own, as on a node, and no stacked head.
    if not _loaded("nvme_core", "multipath=0", f"io_timeout={_NEVER_S}"):
        raise DeviceError(f"kernel {os.uname().release} has no NVMe (nvme_core)")
    loop = _loaded("nvme-loop")
    if not loop and not (_loaded("nvmet-tcp") and _loaded("nvme-tcp")):
        raise DeviceError(
            f"kernel {os.uname().release} has no NVMe target (nvme-loop, or nvmet-tcp with nvme-tcp)"
        )
    if not (_CONFIGFS / "nvmet").is_dir():
        subprocess.run(["mount", "-t", "configfs", "none", str(_CONFIGFS)], check=True)
    port = _CONFIGFS / "nvmet" / "ports" / "1"
    port.mkdir(parents=True)
    if loop:
        (port / "addr_trtype").write_text("loop")
        return _Target(port=port, connect="transport=loop")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    address = {"trtype": "tcp", "adrfam": "ipv4", "traddr": "127.0.0.1", "trsvcid": "4420"}
    for name, value in address.items():
        (port / f"addr_{name}").write_text(value)
    return _Target(port=port, connect="transport=tcp,traddr=127.0.0.1,trsvcid=4420")


def _as_nvme(target: _Target, serial: str, behind: str, queues: int) -> str:
    """Put an NVMe device of the kernel's own target in front of a block device; return its name."""
    subsystem = _CONFIGFS / "nvmet" / "subsystems" / serial
    namespace = subsystem / "namespaces" / "1"
    namespace.mkdir(parents=True)
    (subsystem / "attr_allow_any_host").write_text("1")
    (subsystem / "attr_serial").write_text(serial)
    (subsystem / "attr_model").write_text(EBS_MODEL)
    (namespace / "device_path").write_text(f"/dev/{behind}")
    (namespace / "enable").write_text("1")
    (target.port / "subsystems" / subsystem.name).symlink_to(subsystem)
    # No keep-alive: it would be one more thing to time out when the guest is starved of CPU.
    wish = f"{target.connect},nqn={subsystem.name},nr_io_queues={queues},keep_alive_tmo=0"
    with Path("/dev/nvme-fabrics").open("r+b", buffering=0) as fabrics:
        fabrics.write(wish.encode())
    name = _device_with_serial(serial)
    queue = _BLOCK / name / "queue"
    (queue / "scheduler").write_text("none")  # what a device with several queues, as EBS's, comes up with
    (queue / "max_sectors_kb").write_text(str(MAX_SECTORS_KIB))
    return name


def _device_with_serial(serial: str) -> str:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        for path in _BLOCK.glob("nvme*n*/device/serial"):
            if path.read_text().strip() == serial:
                return path.parent.parent.name
        time.sleep(_LOOK_EVERY_S)
    raise DeviceError(f"no NVMe device with serial {serial} came up within {_PATIENCE_S:.0f} s")
