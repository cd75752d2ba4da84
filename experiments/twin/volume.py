"""The guest's volume: an anonymous image file, throttled by QEMU as EBS throttles.

The image never has a name (`O_TMPFILE`): however this process ends, the kernel frees it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from experiments.spec import Volume
from experiments.twin.errors import VolumeError
from experiments.twin.kernel import find_tool, require_tools

IO_UNIT_BYTES = 256 * 1024
"""EBS counts an SSD I/O in units of up to 256 KiB (EBS user guide, "I/O characteristics")."""

_MEMORY_DIR = Path("/dev/shm")  # noqa: S108 - the tmpfs itself is what is wanted, no name is made in it
_PROBE_BYTES = 4096


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
    serial: str
    """As an EBS volume's id appears in its NVMe serial: `vol` and 17 hex digits."""
    drive_id: str = field(default="")

    def qemu_arguments(self) -> list[str]:
        """Return the drive with its throttle and the NVMe device that carries it.

        An NVMe device with mdts=6 takes at most 256 KiB a request, as an EBS volume does.
        """
        return [
            "-drive",
            f"file=/proc/self/fd/{self.fd},if=none,id={self.drive_id},format=raw,cache=none,aio=threads,"
            f"discard=unmap,throttling.iops-total={self.request.limits.iops},"
            f"throttling.bps-total={self.request.limits.mib_s << 20},throttling.iops-size={IO_UNIT_BYTES}",
            "-device",
            f"nvme,id=dev-{self.drive_id},drive={self.drive_id},serial={self.serial},mdts=6",
        ]


@contextlib.contextmanager
def attached(requests: list[VolumeRequest], *, spill_dir: Path) -> Iterator[list[VolumeImage]]:
    """Make and fill one image a request; free them all on the way out.

    Images lie in memory where tmpfs takes direct I/O (Linux 6.6) and has room, else in `spill_dir`.
    Raises `VolumeError` when a file system cannot be made.
    """
    require_tools("mke2fs")
    with contextlib.ExitStack() as stack:
        images = []
        for index, request in enumerate(requests):
            fd, in_memory = _anonymous_file(request.size_bytes, spill_dir)
            stack.callback(os.close, fd)
            _format(fd, request)
            images.append(
                VolumeImage(
                    request=request,
                    fd=fd,
                    in_memory=in_memory,
                    serial=f"vol{index + 1:017x}",
                    drive_id=f"ebs{index}",
                )
            )
        yield images


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
        if _takes_direct_io(fd):
            return fd, in_memory
        os.close(fd)
    raise VolumeError(
        f"no place for a volume image of {size_bytes >> 20} MiB with direct I/O "
        f"(tried {_MEMORY_DIR} and {spill_dir})",
        hint="free some memory or disk space, or ask for a smaller volume with --volume-size-mib",
    )


def _takes_direct_io(fd: int) -> bool:
    try:
        direct = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_DIRECT)
    except OSError:
        return False
    os.close(direct)
    return True


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
