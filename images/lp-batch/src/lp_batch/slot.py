"""A directory of one's own on a volume that several jobs share.

Two jobs on one data file would take each other's writes for corruption. So the first works in the
directory that was asked for, the next in `slot-1` below it, and so on; a slot that is free again is
used again, data file and all. The lock dies with its process, after its last I/O.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from lp_batch.errors import EnvironmentFault

_SLOTS = 64


@contextlib.contextmanager
def claimed_slot(directory: Path) -> Iterator[Path]:
    """Yield the first directory that no other job holds, made if need be."""
    for number in range(_SLOTS):
        slot = directory / f"slot-{number}" if number else directory
        try:
            slot.mkdir(parents=True, exist_ok=True)
            # Read-only suffices for a lock: the file may be another user's, from a prepared image.
            fd = os.open(slot / "lp.lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise EnvironmentFault(
                f"cannot work in {slot}: {error.strerror}",
                hint="give a directory on the shared volume that this user may write",
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        try:
            yield slot
        finally:
            os.close(fd)
        return
    raise EnvironmentFault(
        f"{directory} has {_SLOTS} jobs at work already", hint="give this job another --dir"
    )
