"""What the kernel counts of this container's own I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Final

IO_STAT: Final = Path("/sys/fs/cgroup/io.stat")


def io_cost(io_stat: Path = IO_STAT) -> bool | None:
    """Return whether iocost is on at a disk that this container has used; None where no file shows it.

    The kernel then ends the disk's line with `cost.usage` (block/blk-iocost.c, ioc_pd_stat).
    """
    try:
        return "cost.usage=" in io_stat.read_text()
    except OSError:
        return None
