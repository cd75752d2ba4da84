"""Submit a burst of reads to the kernel in one system call and wait for it in another.

Linux native AIO (`io_submit`, `io_getevents`; linux/aio_abi.h). A thread pool costs a wake-up and a
hand-over of the interpreter lock for each read, here both are paid once per burst. io_uring would do
as well, but the container runtimes' default seccomp profile blocks it and lets AIO pass.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hp_service.errors import FeatureReadError
from hp_service.manifest import ROW_BYTES

_SYSCALLS: Mapping[str, Mapping[str, int]] = {
    # asm/unistd_64.h and asm-generic/unistd.h
    "x86_64": {"io_setup": 206, "io_destroy": 207, "io_getevents": 208, "io_submit": 209},
    "aarch64": {"io_setup": 0, "io_destroy": 1, "io_submit": 2, "io_getevents": 4},
}

_IOCB = np.dtype(
    [
        ("data", "<u8"),
        ("key", "<u4"),
        ("rw_flags", "<i4"),
        ("opcode", "<u2"),
        ("priority", "<i2"),
        ("fd", "<u4"),
        ("buffer", "<u8"),
        ("bytes", "<u8"),
        ("offset", "<i8"),
        ("reserved", "<u8"),
        ("flags", "<u4"),
        ("eventfd", "<u4"),
    ]
)
_EVENT = np.dtype([("data", "<u8"), ("iocb", "<u8"), ("result", "<i8"), ("result2", "<i8")])
_OPCODE_PREAD = 0

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = [ctypes.c_long] * 6


def _syscall(name: str, *arguments: int) -> int:
    """Make the call without the interpreter lock; return its result or minus errno."""
    number = _SYSCALLS[platform.machine()][name]
    padded = (*arguments, 0, 0, 0, 0, 0)[:5]
    result: int = _libc.syscall(number, *padded)
    return result if result >= 0 else -ctypes.get_errno()


class AioBurst:
    """A kernel AIO context with its own aligned buffer, for one burst at a time."""

    def __init__(self, fd: int, capacity: int) -> None:
        """Reserve room for `capacity` rows. Raises OSError where the kernel offers no AIO."""
        if platform.machine() not in _SYSCALLS:
            raise OSError(errno.ENOSYS, f"native AIO is not wired up for {platform.machine()}")
        context = ctypes.c_ulong(0)
        result = _syscall("io_setup", capacity, ctypes.addressof(context))
        if result < 0:
            raise OSError(-result, f"io_setup: {os.strerror(-result)}")
        self.capacity = capacity
        self._context = context.value
        self._memory = mmap.mmap(-1, capacity * ROW_BYTES)
        self._bytes = np.frombuffer(self._memory, dtype=np.uint8).reshape(capacity, ROW_BYTES)
        self._iocbs = np.zeros(capacity, dtype=_IOCB)
        self._iocbs["opcode"] = _OPCODE_PREAD
        self._iocbs["fd"] = fd
        self._iocbs["bytes"] = ROW_BYTES
        first_row = self._bytes.ctypes.data
        self._iocbs["buffer"] = first_row + np.arange(capacity, dtype=np.uint64) * np.uint64(ROW_BYTES)
        self._offsets = self._iocbs["offset"]
        first_iocb = self._iocbs.ctypes.data
        iocbs = first_iocb + np.arange(capacity, dtype=np.uint64) * np.uint64(_IOCB.itemsize)
        self._pointers = iocbs.astype(np.uint64)
        self._pointers_at = self._pointers.ctypes.data
        self._events = np.zeros(capacity, dtype=_EVENT)
        self._results = self._events["result"]
        self._events_at = self._events.ctypes.data

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Read the rows, all in flight together: shape (len(rows), ROW_BYTES), valid until the next read."""
        wanted = len(rows)
        np.multiply(rows, ROW_BYTES, out=self._offsets[:wanted])
        submitted, failure = self._submit(wanted)
        # Whatever was submitted writes into the buffer: it must be reaped before anything else.
        self._reap(submitted)
        if failure:
            raise FeatureReadError(f"io_submit: {os.strerror(failure)} after {submitted} of {wanted} reads")
        results = self._results[:wanted]
        if (results != ROW_BYTES).any():
            bad = int(results[results != ROW_BYTES][0])
            reason = os.strerror(-bad) if bad < 0 else f"{bad} bytes, expected {ROW_BYTES}"
            raise FeatureReadError(f"feature rows: a read of {wanted} failed: {reason}")
        return self._bytes[:wanted]

    def _submit(self, wanted: int) -> tuple[int, int]:
        """Return how many reads the kernel took, and the errno that stopped it or 0."""
        submitted = 0
        while submitted < wanted:
            at = self._pointers_at + submitted * self._pointers.itemsize
            result = _syscall("io_submit", self._context, wanted - submitted, at)
            if result <= 0:
                if result == -errno.EINTR:
                    continue
                return submitted, -result or errno.EAGAIN
            submitted += result
        return submitted, 0

    def _reap(self, expected: int) -> None:
        reaped = 0
        while reaped < expected:
            at = self._events_at + reaped * _EVENT.itemsize
            left = expected - reaped
            result = _syscall("io_getevents", self._context, left, left, at, 0)
            if result < 0 and result != -errno.EINTR:
                raise FeatureReadError(f"io_getevents: {os.strerror(-result)}")
            reaped += max(result, 0)

    def close(self) -> None:
        """Give the context back to the kernel."""
        _syscall("io_destroy", self._context)
        self._context = 0
