"""End every guest of this process at once, and whatever waits for one with it.

A guest is scratch: nothing on it needs an orderly end. What an experiment does when it is left, such as
deleting pods one after the other, is not worth a minute to somebody who pressed Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_running: set[subprocess.Popen[bytes]] = set()
_asked = threading.Event()


def follow(process: subprocess.Popen[bytes]) -> None:
    """Have a guest's process end with the others; raises KeyboardInterrupt where they are to end."""
    _running.add(process)
    if _asked.is_set():
        process.kill()
    raise_if_asked()


def forget(process: subprocess.Popen[bytes]) -> None:
    """Note that a guest's process is waited for by its owner."""
    _running.discard(process)


def raise_if_asked() -> None:
    """Raise KeyboardInterrupt in whoever still wants something of a guest that was ended."""
    if _asked.is_set():
        raise KeyboardInterrupt


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end all guests and raise KeyboardInterrupt; for the main thread.

    What is said at once is written past every buffer: the signal may have come in the middle of a print.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        if not _asked.is_set():
            _asked.set()
            what = "ending the guests" if _running else "clearing up"
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"\ninterrupted: {what}...\n".encode())
            for process in list(_running):
                process.kill()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.clear()
