"""Read and write kernel files, and raise an error for each kind of failure."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import Final

from drcio_controller.errors import Busy, KernelFileError, NotSupported, Vanished

_GONE: Final = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR, errno.ESTALE}
_REFUSED: Final = {errno.EOPNOTSUPP, errno.EROFS, errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS}
_FOR_NOW: Final = {errno.EBUSY, errno.EAGAIN}
_READ_SIZE: Final = 65536

FILES_WANTED: Final = 16_384
"""Three of each pod's, of some thousands. A container begins with 1024 on many nodes."""


def _translate(error: OSError, path: Path | str, action: str, value: str = "") -> KernelFileError:
    what = f" {value!r}" if value else ""
    message = f"cannot {action}{what} {path}: {os.strerror(error.errno or 0)}"
    if error.errno in _GONE:
        return Vanished(message)
    if error.errno in _REFUSED:
        return NotSupported(message)
    if error.errno in _FOR_NOW:
        return Busy(message)
    return KernelFileError(message)


def read_text(path: Path | str) -> str:
    """Return a kernel file's text.

    Raises:
        Vanished: the cgroup, device or knob does not exist (any more).
        NotSupported: the mount or the kernel refuses.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _read_all(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _translate(error, path, "read") from error


def write_text(path: Path | str, value: str) -> None:
    """Write one value in one `write(2)`, never creating the file.

    Raises:
        Vanished: the cgroup, device or knob does not exist (any more).
        Busy: the kernel refuses for now.
        NotSupported: the mount or the kernel refuses the value.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _translate(error, path, "write", value) from error


def inode_of(path: Path | str) -> int:
    """Return a folder's inode: a cgroup's identity, which a reused path is not."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - called for every pod; see mapping.Hierarchy
    except OSError as error:
        raise _translate(error, path, "look at") from error


def files_limit() -> int:
    """Return how many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return FILES_WANTED if soft == resource.RLIM_INFINITY else soft


def raise_files_limit() -> None:
    """Let this process have as many files open as a node full of pods takes, if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _read_all(descriptor: int) -> str:
    chunk = os.pread(descriptor, _READ_SIZE, 0)
    if len(chunk) < _READ_SIZE:
        return chunk.decode(errors="replace")
    chunks = [chunk]
    while chunk:
        chunk = os.pread(descriptor, _READ_SIZE, sum(map(len, chunks)))
        chunks.append(chunk)
    return b"".join(chunks).decode(errors="replace")


class OpenFiles:
    """Keep kernel files open between ticks: a `pread` costs a third of open, read and close.

    A descriptor of a removed cgroup answers ENODEV; it is dropped and the caller sees `Vanished`. What is
    more than half of the files that a process may have open is read and not kept.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._descriptors: dict[str, int] = {}
        self._limit = files_limit() // 2 if limit is None else limit

    def read(self, path: str) -> str:
        """Return the file's current text; raises as `read_text` does."""
        descriptor = self._descriptors.get(path)
        if descriptor is None and len(self._descriptors) >= self._limit:
            return read_text(path)
        try:
            if descriptor is None:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                self._descriptors[path] = descriptor
            return _read_all(descriptor)
        except OSError as error:
            self.forget(path)
            raise _translate(error, path, "read") from error

    def forget(self, path: str) -> None:
        """Close one file if it is open."""
        descriptor = self._descriptors.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)

    def forget_below(self, folder: str) -> None:
        """Close every file in a folder, as its cgroup is gone."""
        for path in [path for path in self._descriptors if path.rpartition("/")[0] == folder]:
            self.forget(path)

    def close(self) -> None:
        """Close everything."""
        for path in list(self._descriptors):
            self.forget(path)
