"""The engine for buffered I/O and for machines without native AIO: one thread per slot."""

import contextlib
import os
import threading
from queue import Empty, SimpleQueue

from lp_batch.arena import Arena
from lp_batch.engine import Completion

_Work = tuple[int, bool, int, bool]
"""Slot, write, offset in bytes, sync afterwards."""


class ThreadEngine:
    """An `Engine` of blocking preads and pwrites.

    With `fsync_every` N each N-th write is followed by an fsync, which counts into its latency.
    `read_fd` may differ from `write_fd`, so that data written through the page cache is read back
    from the device.
    """

    name = "threads"

    def __init__(self, read_fd: int, write_fd: int, arena: Arena, *, fsync_every: int = 0) -> None:
        self.fsyncs = 0
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._arena = arena
        self._fsync_every = fsync_every
        self._writes = 0
        self._queued: list[_Work] = []
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._done: SimpleQueue[Completion] = SimpleQueue()
        # Daemons: a thread stuck in a throttled write must not keep the interpreter from ending.
        self._threads = [
            threading.Thread(target=self._serve, name=f"io-{i}", daemon=True) for i in range(arena.slots)
        ]
        for thread in self._threads:
            thread.start()

    def queue(self, slot: int, write: bool, offset_bytes: int) -> None:
        sync = False
        if write and self._fsync_every:
            self._writes += 1
            sync = self._writes % self._fsync_every == 0
            self.fsyncs += sync
        self._queued.append((slot, write, offset_bytes, sync))

    def submit(self) -> None:
        for work in self._queued:
            self._work.put(work)
        self._queued.clear()

    def reap(self, timeout_s: float) -> list[Completion]:
        try:
            completions = [self._done.get(timeout=timeout_s)]
        except Empty:
            return []
        with contextlib.suppress(Empty):
            while True:
                completions.append(self._done.get_nowait())
        return completions

    def close(self) -> None:
        for _ in self._threads:
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            slot, write, offset_bytes, sync = work
            try:
                if write:
                    moved = os.pwritev(self._write_fd, [self._arena.write_buffers[slot]], offset_bytes)
                    if sync:
                        os.fsync(self._write_fd)
                else:
                    moved = os.preadv(self._read_fd, [self._arena.read_buffers[slot]], offset_bytes)
            except OSError as error:
                moved = -(error.errno or 5)
            self._done.put((slot, moved))
