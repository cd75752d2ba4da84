"""The file that the job works on, and how it comes into being.

A directory holds `lp.dat`, all pages of it self-describing, and `lp.json`, which is written last: a
preparation that was cut off leaves no `lp.json` and is done again.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lp_batch.errors import EnvironmentFault
from lp_batch.pages import PAGE_BYTES, BlockReader, BlockWriter, payload_pool
from lp_batch.stop import StopRequest
from lp_batch.units import MIB, format_size

SCHEMA = "drcio.lp-data/1"
_CHUNK_BYTES = MIB
_SYNC_BYTES = 8 * MIB
"""Written between two syncs. An fsync cannot be interrupted, and a stop should take a second; also, a
gigabyte of dirty pages would fill the pod's memory."""
_PROBED_PAGES = 16

Progress = Callable[[int, int], None]
"""Bytes done, bytes in all."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A prepared file."""

    path: Path
    file_bytes: int
    data_set: int
    """Number from the seed in every page's header: 16 bits."""
    created: bool
    """False where the file was there already."""


def prepare(
    directory: Path, file_bytes: int, *, seed: int, stop: StopRequest, on_progress: Progress
) -> DataSet | None:
    """Make the data file, or find it there and intact; None when a stop was asked for meanwhile."""
    path = directory / "lp.dat"
    marker = directory / "lp.json"
    if found := _existing(path, marker, file_bytes):
        return found
    try:
        directory.mkdir(parents=True, exist_ok=True)
        marker.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        _check_space(directory, file_bytes)
        data_set = seed & 0xFFFF
        if not _write_file(path, file_bytes, data_set, stop, on_progress):
            path.unlink(missing_ok=True)
            return None
        _write_marker(marker, file_bytes, data_set)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot prepare {format_size(file_bytes)} in {directory}: {error.strerror}",
            hint="give a directory on the shared volume that this user may write",
        ) from error
    return DataSet(path=path, file_bytes=file_bytes, data_set=data_set, created=True)


def _existing(path: Path, marker: Path, file_bytes: int) -> DataSet | None:
    try:
        facts = json.loads(marker.read_text())
        data_set = facts["data_set"]
        fits = facts["schema"] == SCHEMA and facts["file_bytes"] == file_bytes == path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not fits or not isinstance(data_set, int) or not _probe(path, file_bytes, data_set):
        return None
    return DataSet(path=path, file_bytes=file_bytes, data_set=data_set, created=False)


def _probe(path: Path, file_bytes: int, data_set: int) -> bool:
    """Return whether pages spread over the file, its first and last among them, are intact."""
    last = file_bytes // PAGE_BYTES - 1
    buffer = bytearray(PAGE_BYTES)
    reader = BlockReader(memoryview(buffer), data_set)
    with path.open("rb", buffering=0) as file:
        for step in range(_PROBED_PAGES):
            page = last * step // (_PROBED_PAGES - 1)
            file.seek(page * PAGE_BYTES)
            if file.readinto(buffer) != PAGE_BYTES or reader.verify(page, None, sample=0, full=True):
                return False
    return True


def _check_space(directory: Path, file_bytes: int) -> None:
    stat = os.statvfs(directory)
    free_bytes = stat.f_bavail * stat.f_frsize
    if free_bytes < file_bytes:
        raise EnvironmentFault(
            f"{directory} has {free_bytes // MIB} MiB free; the data file needs {format_size(file_bytes)}",
            hint="use a smaller --file-size or a larger volume",
        )


def _write_file(path: Path, file_bytes: int, data_set: int, stop: StopRequest, on_progress: Progress) -> bool:
    """Write every page through the page cache and sync; False when stopped on the way."""
    buffer = bytearray(_CHUNK_BYTES)
    chunk = memoryview(buffer)
    writer = BlockWriter(chunk, payload_pool(_CHUNK_BYTES // PAGE_BYTES, data_set), 0, data_set)
    with path.open("wb", buffering=0) as file:
        for offset in range(0, file_bytes, _CHUNK_BYTES):
            if stop.reason is not None:
                return False
            writer.stamp(offset // PAGE_BYTES, 1)
            remaining = chunk[: file_bytes - offset]
            while remaining:
                remaining = remaining[file.write(remaining) :]
            done_bytes = min(offset + _CHUNK_BYTES, file_bytes)
            if done_bytes % _SYNC_BYTES == 0 or done_bytes == file_bytes:
                os.fsync(file.fileno())
                # Cached pages would take memory from others, and serve a later buffered reader.
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            on_progress(done_bytes, file_bytes)
    return True


def _write_marker(marker: Path, file_bytes: int, data_set: int) -> None:
    draft = marker.with_suffix(".tmp")
    draft.write_text(json.dumps({"schema": SCHEMA, "file_bytes": file_bytes, "data_set": data_set}) + "\n")
    draft.rename(marker)
