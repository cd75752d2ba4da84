"""Read feature rows from the disk, past the page cache, a request's rows all in flight together."""

from __future__ import annotations

import errno
import mmap
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hp_service.aio import AioBurst
from hp_service.architecture import SLOTS
from hp_service.errors import DatasetError, FeatureReadError
from hp_service.manifest import ROW_BYTES
from hp_service.rows import decode_rows

POOL_THREADS = 64
"""Reads in flight at once where native AIO is not to be had."""


@dataclass(frozen=True, kw_only=True)
class ReadPath:
    """How rows come from the disk, and why not better."""

    name: str
    """`o_direct+aio`, `o_direct+threads` or `buffered+threads`."""
    reason: str = ""
    """Why a better path was not taken; empty for the best."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Features of the rows asked for, and how long the disk took."""

    features: npt.NDArray[np.float32]
    duration_s: float
    """From the submission of the first read to the completion of the last."""


class Burst(Protocol):
    """Something that reads up to `capacity` rows at once into a buffer of its own."""

    capacity: int

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Read the rows: shape (len(rows), ROW_BYTES), valid until the next read."""

    def close(self) -> None:
        """Give back what the kernel holds."""


class ThreadBurst:
    """The same contract as AioBurst on a pool of threads, one blocking read each."""

    def __init__(self, fd: int, capacity: int, pool: ThreadPoolExecutor) -> None:
        self.capacity = capacity
        self._fd = fd
        self._pool = pool
        self._memory = mmap.mmap(-1, capacity * ROW_BYTES)
        self._view = memoryview(self._memory)
        self._bytes = np.frombuffer(self._memory, dtype=np.uint8).reshape(capacity, ROW_BYTES)

    def _read_one(self, place: int, row: int) -> None:
        target = self._view[place * ROW_BYTES : (place + 1) * ROW_BYTES]
        found = os.preadv(self._fd, [target], row * ROW_BYTES)
        if found != ROW_BYTES:
            raise FeatureReadError(f"feature row {row}: read {found} bytes, expected {ROW_BYTES}")

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Read the rows, as many in flight together as the pool has threads."""
        reads = [self._pool.submit(self._read_one, place, row) for place, row in enumerate(rows.tolist())]
        failures = [failure for read in reads if (failure := read.exception()) is not None]
        if failures:
            raise FeatureReadError(f"feature rows: a read of {len(rows)} failed: {failures[0]}")
        return self._bytes[: len(rows)]

    def close(self) -> None:
        """Do nothing: the pool is the reader's."""


class FeatureReader:
    """Read rows of a feature file. Safe to call from many threads; calls do not wait for each other."""

    def __init__(self, path: Path, *, nodes: int, features: int, allow_aio: bool = True) -> None:
        self._features = features
        self._fd, direct_failure = _open(path)
        self._spare: list[Burst] = []
        self._pool: ThreadPoolExecutor | None = None
        try:
            self._check_size(path, nodes)
            self.path = self._choose(direct_failure, allow_aio=allow_aio)
        except BaseException:
            os.close(self._fd)
            raise

    def _check_size(self, path: Path, nodes: int) -> None:
        found = os.fstat(self._fd).st_size
        if found != nodes * ROW_BYTES:
            raise DatasetError(
                f"{path} has {found} bytes, expected {nodes * ROW_BYTES}",
                hint="run `hp-service prepare` again",
            )

    def _choose(self, direct_failure: str, *, allow_aio: bool) -> ReadPath:
        reason = direct_failure or ("" if allow_aio else "native AIO is switched off")
        if not reason:
            try:
                burst = AioBurst(self._fd, SLOTS)
            except OSError as error:
                reason = str(error)
            else:
                self._spare.append(burst)
                return ReadPath(name="o_direct+aio")
        # Buffered AIO would block in io_submit, one read after the other.
        self._pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="read")
        return ReadPath(name="buffered+threads" if direct_failure else "o_direct+threads", reason=reason)

    def _new_burst(self, capacity: int) -> Burst:
        if self._pool is not None:
            return ThreadBurst(self._fd, capacity, self._pool)
        try:
            return AioBurst(self._fd, capacity)
        except OSError as error:
            hint = "raise fs.aio-max-nr" if error.errno == errno.EAGAIN else ""
            raise FeatureReadError(f"cannot start a burst of {capacity} reads: {error}", hint=hint) from error

    def fetch(self, rows: npt.NDArray[np.int64]) -> Fetched:
        """Read the rows. Raises FeatureReadError if any of them cannot be read."""
        if len(rows) > SLOTS:
            burst = self._new_burst(len(rows))
            try:
                return self._fetch(burst, rows)
            finally:
                burst.close()
        try:
            burst = self._spare.pop()
        except IndexError:
            burst = self._new_burst(SLOTS)
        try:
            return self._fetch(burst, rows)
        finally:
            self._spare.append(burst)

    def _fetch(self, burst: Burst, rows: npt.NDArray[np.int64]) -> Fetched:
        started = time.perf_counter()
        raw = burst.read(rows)
        duration_s = time.perf_counter() - started
        return Fetched(features=decode_rows(raw, rows, self._features), duration_s=duration_s)

    def close(self) -> None:
        """Release the file. No fetch may be under way."""
        if self._pool is not None:
            self._pool.shutdown()
        while self._spare:
            self._spare.pop().close()
        os.close(self._fd)


def _open(path: Path) -> tuple[int, str]:
    """Open past the page cache if one row can be read that way; else return why not."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing", hint="run `hp-service prepare` first") from error
    except OSError as error:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC), f"O_DIRECT refused: {error.strerror}"
    try:
        with mmap.mmap(-1, ROW_BYTES) as probe:
            os.preadv(fd, [probe], 0)
    except OSError as error:
        os.close(fd)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC), f"O_DIRECT read refused: {error.strerror}"
    return fd, ""
