"""Linux native asynchronous I/O: a whole batch per system call, from one thread.

Why not threads: at queue depth 32 a thread per operation costs two hand-overs of the interpreter lock
per I/O; under software emulation (a node twin without KVM) that alone exceeds the time that a
3000-IOPS volume leaves per operation. Why not io_uring: container runtimes' default seccomp profile
denies it, and allows these calls.

Structures and numbers: linux/aio_abi.h, asm/unistd_64.h, asm-generic/unistd.h.
"""

import ctypes
import errno
import os
import platform
from dataclasses import dataclass

from lp_batch.arena import Arena
from lp_batch.engine import Completion
from lp_batch.errors import IoFailure

_IOCB_WORDS = 8
_EVENT_WORDS = 4
_GATHER_SHARE = 8
_GATHER_S = 0.002
"""An eighth of the queue is awaited together, up to this long: two system calls then serve several
operations. The queue never runs lower than that, and a latency reads at most this much too high."""
_PREAD = 0
_PWRITE = 1


@dataclass(frozen=True, kw_only=True)
class _Numbers:
    setup: int
    destroy: int
    submit: int
    getevents: int


_NUMBERS = {
    "x86_64": _Numbers(setup=206, destroy=207, getevents=208, submit=209),
    "aarch64": _Numbers(setup=0, destroy=1, submit=2, getevents=4),
}


class AioUnavailable(Exception):
    """This machine has no native AIO for us; the reason is the message."""


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class NativeAio:
    """An `Engine` on io_submit and io_getevents.

    The file must be open with O_DIRECT: on a buffered file io_submit does the I/O before it returns.
    """

    name = "aio"

    def __init__(self, fd: int, arena: Arena) -> None:
        numbers = _NUMBERS.get(platform.machine())
        if numbers is None:
            raise AioUnavailable(f"no system call numbers for {platform.machine()}")
        self._numbers = numbers
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        if self._syscall(numbers.setup, ctypes.c_long(arena.slots), ctypes.byref(self._context)) < 0:
            code = ctypes.get_errno()
            raise AioUnavailable(f"io_setup for {arena.slots} operations: {os.strerror(code)}")

        slots = arena.slots
        self._iocbs = (ctypes.c_uint64 * (_IOCB_WORDS * slots))()
        # 64-bit words: data, key|rw_flags, opcode|reqprio|fd, buffer, length, offset, reserved, flags|resfd
        self._iocb_words = memoryview(self._iocbs).cast("B").cast("Q")
        base = ctypes.addressof(self._iocbs)
        self._iocb_addresses = [base + 8 * _IOCB_WORDS * slot for slot in range(slots)]
        for slot in range(slots):
            self._iocb_words[_IOCB_WORDS * slot] = slot
            self._iocb_words[_IOCB_WORDS * slot + 4] = arena.block_bytes
        self._read_words = _PREAD | fd << 32
        self._write_words = _PWRITE | fd << 32
        self._read_addresses = arena.read_addresses
        self._write_addresses = arena.write_addresses

        self._batch = (ctypes.c_uint64 * slots)()
        self._batch_words = memoryview(self._batch).cast("B").cast("Q")
        self._queued: list[int] = []
        self._in_flight = 0
        self._events = (ctypes.c_int64 * (_EVENT_WORDS * slots))()
        self._event_words = memoryview(self._events).cast("B").cast("q")
        self._max_events = ctypes.c_long(slots)
        self._timeout = _Timespec()
        self._timeout_ref = ctypes.byref(self._timeout)

    def queue(self, slot: int, write: bool, offset_bytes: int) -> None:
        words = self._iocb_words
        at = _IOCB_WORDS * slot
        if write:
            words[at + 2] = self._write_words
            words[at + 3] = self._write_addresses[slot]
        else:
            words[at + 2] = self._read_words
            words[at + 3] = self._read_addresses[slot]
        words[at + 5] = offset_bytes
        self._queued.append(self._iocb_addresses[slot])

    def submit(self) -> None:
        queued = self._queued
        while queued:
            for index, address in enumerate(queued):
                self._batch_words[index] = address
            accepted = self._syscall(
                self._numbers.submit, self._context, ctypes.c_long(len(queued)), self._batch
            )
            if accepted < 0:
                code = ctypes.get_errno()
                if code == errno.EAGAIN:
                    return
                if code == errno.EINTR:
                    continue
                raise IoFailure(f"io_submit of {len(queued)} operations: {os.strerror(code)}")
            self._in_flight += accepted
            del queued[:accepted]

    def reap(self, timeout_s: float) -> list[Completion]:
        gather = self._in_flight // _GATHER_SHARE
        if gather > 1 and timeout_s > _GATHER_S and (gathered := self._get_events(gather, _GATHER_S)):
            return gathered
        return self._get_events(1, timeout_s)

    def _get_events(self, at_least: int, timeout_s: float) -> list[Completion]:
        seconds = int(timeout_s)
        self._timeout.tv_sec = seconds
        self._timeout.tv_nsec = int((timeout_s - seconds) * 1e9)
        count = self._syscall(
            self._numbers.getevents,
            self._context,
            ctypes.c_long(at_least),
            self._max_events,
            self._events,
            self._timeout_ref,
        )
        if count < 0:
            code = ctypes.get_errno()
            if code == errno.EINTR:
                return []
            raise IoFailure(f"io_getevents: {os.strerror(code)}")
        self._in_flight -= count
        words = self._event_words
        return [(words[at], words[at + 2]) for at in range(0, _EVENT_WORDS * count, _EVENT_WORDS)]

    def close(self) -> None:
        """Give the context back; the kernel first waits for what is still in flight."""
        self._syscall(self._numbers.destroy, self._context)
