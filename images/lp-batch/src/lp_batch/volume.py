"""Open the data file with the best engine that the machine offers, and name it."""

import os
from dataclasses import dataclass
from pathlib import Path

from lp_batch.aio import AioUnavailable, NativeAio
from lp_batch.arena import Arena
from lp_batch.engine import Engine
from lp_batch.errors import EnvironmentFault
from lp_batch.patterns import Pattern
from lp_batch.threads import ThreadEngine


@dataclass(frozen=True, kw_only=True)
class OpenVolume:
    """An engine ready for a file."""

    engine: Engine
    direct: bool
    """The pattern's own operations bypass the page cache."""
    notes: tuple[str, ...]
    """Why the first choice was not taken, where it was not."""
    descriptors: tuple[int, ...]

    def close(self) -> None:
        """Give everything back; only with nothing in flight, for the kernel would wait for it."""
        self.engine.close()
        for fd in self.descriptors:
            os.close(fd)


def open_volume(path: Path, pattern: Pattern, arena: Arena, *, fsync_every: int) -> OpenVolume:
    """Prefer direct I/O and native AIO; fall back to threads, then to the page cache, with the reason."""
    mode = os.O_CLOEXEC | (os.O_RDWR if pattern.writes else os.O_RDONLY)
    notes: list[str] = []
    direct_fd: int | None = None
    try:
        direct_fd = os.open(path, mode | os.O_DIRECT)
    except OSError as error:
        notes.append(f"O_DIRECT: {error.strerror}")

    if pattern.direct and direct_fd is not None:
        try:
            engine = NativeAio(direct_fd, arena)
        except AioUnavailable as unavailable:
            notes.append(f"native AIO: {unavailable}")
            return OpenVolume(
                engine=ThreadEngine(direct_fd, direct_fd, arena),
                direct=True,
                notes=tuple(notes),
                descriptors=(direct_fd,),
            )
        return OpenVolume(engine=engine, direct=True, notes=(), descriptors=(direct_fd,))

    try:
        buffered_fd = os.open(path, mode)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot open {path}: {error.strerror}", hint="check the owner and mode of --dir and its files"
        ) from error
    # What went through the page cache is read back from the device where that is possible.
    read_fd = buffered_fd if direct_fd is None else direct_fd
    return OpenVolume(
        engine=ThreadEngine(read_fd, buffered_fd, arena, fsync_every=0 if pattern.direct else fsync_every),
        direct=False,
        notes=tuple(notes),
        descriptors=(buffered_fd,) if direct_fd is None else (buffered_fd, direct_fd),
    )
