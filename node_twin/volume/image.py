"""The guest's volumes, as the host makes them: an image in memory that the guest's own device serves.

An image never has a name (`O_TMPFILE`): however this process ends, the kernel frees it. The guest sees it
as the memory of a PCI device and serves it as a block device that takes its time as EBS does, in the
guest's time (`node_twin.volume.blockdevice`).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from node_twin.errors import VolumeError
from node_twin.tools import find_tool, require_tools

if TYPE_CHECKING:  # whoever asks what this machine can do imports this before anything is installed
    from drcio_controller.ebs import Volume

_MEMORY_DIR: Final = Path("/dev/shm")  # noqa: S108 - the tmpfs itself is what is wanted, no name is made in it
_DEVICE_SOURCES: Final = Path(__file__).parent / "device"
_FIRST_SLOT: Final = 0x10
"""Of the guest's PCI bus, above what QEMU fills by itself."""


@dataclass(frozen=True, kw_only=True)
class VolumeRequest:
    """A volume to attach: its claim name, its limits and what lies on it at the start."""

    claim: str
    limits: Volume
    size_bytes: int
    contents: Path | None = None
    """Directory copied to the volume's root; None leaves it empty."""


@dataclass(frozen=True, kw_only=True)
class VolumeImage:
    """An open, formatted image. Valid while the context that made it lasts."""

    request: VolumeRequest
    fd: int
    in_memory: bool
    index: int

    @property
    def serial(self) -> str:
        """As an EBS volume's id appears in its NVMe serial: `vol` and 17 hex digits."""
        return f"vol{self.index + 1:017x}"

    def qemu_arguments(self) -> list[str]:
        """Return the memory and the PCI device that shows it to the guest."""
        name = f"ebs{self.index}"
        return [
            "-object",
            f"memory-backend-file,id={name},mem-path=/proc/self/fd/{self.fd},share=on,"
            f"size={_pci_size(self.request.size_bytes)}",
            "-device",
            f"ivshmem-plain,id=dev-{name},memdev={name},addr={_FIRST_SLOT + self.index:#x}",
        ]

    def guest_option(self) -> str:
        """Describe the volume to the guest (`blockdevice.parse_guest_volume`)."""
        limits = self.request.limits
        settings = (
            f"size_mib={self.request.size_bytes >> 20},type={limits.type},iops={limits.iops},"
            f"mib_s={limits.mib_s},seed=1,snapshot=0"
        )
        return f"{self.request.claim}={self.serial}@{_FIRST_SLOT + self.index:02x}:{settings}"


def build_server(cache: Path) -> Path:
    """Build the guest's volume server where its sources changed, and return the program."""
    require_tools("make", "gcc")
    out = cache.resolve() / "device"
    done = subprocess.run(
        ["make", "-s", "-C", str(_DEVICE_SOURCES), f"OUT={out}"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise VolumeError(
            f"building the volumes' server failed:\n{done.stderr.strip()}",
            hint="`make setup` installs gcc and the C library's headers",
        )
    return out / "ebs-volume"


@contextlib.contextmanager
def attached(requests: list[VolumeRequest], *, spill_dir: Path) -> Iterator[list[VolumeImage]]:
    """Make and fill one image a request; free them all on the way out.

    Images lie in memory where there is room, else in `spill_dir`.
    Raises `VolumeError` when a file system cannot be made.
    """
    require_tools("mke2fs")
    with contextlib.ExitStack() as stack:
        images = []
        for index, request in enumerate(requests):
            fd, in_memory = _anonymous_file(request.size_bytes, spill_dir)
            stack.callback(os.close, fd)
            _format(fd, request)
            os.truncate(fd, _pci_size(request.size_bytes))
            images.append(VolumeImage(request=request, fd=fd, in_memory=in_memory, index=index))
        yield images


def _pci_size(size_bytes: int) -> int:
    """Round up to a power of two, as a PCI device's memory must be; what is never touched takes no room."""
    return 1 << (size_bytes - 1).bit_length()


def _anonymous_file(size_bytes: int, spill_dir: Path) -> tuple[int, bool]:
    spill_dir.mkdir(parents=True, exist_ok=True)
    for directory, in_memory in ((_MEMORY_DIR, True), (spill_dir, False)):
        try:
            room = os.statvfs(directory)
            if room.f_bavail * room.f_frsize < size_bytes:
                continue
            fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:
            continue
        os.truncate(fd, size_bytes)
        return fd, in_memory
    raise VolumeError(
        f"no room for a volume of {size_bytes >> 20} MiB (tried {_MEMORY_DIR} and {spill_dir})",
        hint="free some memory or disk space",
    )


def _format(fd: int, request: VolumeRequest) -> None:
    """Make an ext4 without lazy initialisation: background zeroing would be load of its own."""
    command = [
        str(find_tool("mke2fs")),
        *("-q", "-F", "-t", "ext4", "-m", "0", "-L", request.claim[:16]),
        *("-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"),
    ]
    if request.contents is not None:
        command += ["-d", str(request.contents)]
    done = subprocess.run(
        [*command, f"/proc/self/fd/{fd}"], pass_fds=(fd,), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise VolumeError(f"mke2fs failed for volume {request.claim!r}: {lines[-1]}")
