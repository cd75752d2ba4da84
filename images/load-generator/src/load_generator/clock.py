"""Which clock this machine has: real time, or a guest's that counts instructions.

Nothing in such a guest can tell by itself: its seconds look like any. So whoever boots it says so on the
kernel's command line, which every container of the guest can read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

Clock = Literal["real", "virtual"]
VIRTUAL: Final = "drcio.clock=virtual"
"""The kernel's argument; the kernel takes no notice of one that has a dot and belongs to no module."""


def clock_here(proc: Path = Path("/proc")) -> Clock:
    """Return the clock of this machine; one without a note is real."""
    words = (proc / "cmdline").read_text(encoding="ascii", errors="replace").split()
    return "virtual" if VIRTUAL in words else "real"
