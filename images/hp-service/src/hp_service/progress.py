"""Show what a long command is doing."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TextIO

BAR_WIDTH = 24
REDRAW_S = 0.1
LOG_S = 5.0


class Progress:
    """A bar per step on a terminal; a line per step, and every few seconds, elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._step = ""
        self._shown_at = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._end_line()

    def report(self, step: str, done: float, text: str) -> None:
        """Show that `done` (0 to 1) of `step` is over, and a remark."""
        now = time.monotonic()
        fresh = step != self._step
        if not (fresh or done >= 1.0) and now - self._shown_at < (REDRAW_S if self._terminal else LOG_S):
            return
        if fresh:
            self._end_line()
        self._step, self._shown_at = step, now
        if self._terminal:
            bar = ("#" * round(BAR_WIDTH * done)).ljust(BAR_WIDTH, "-")
            self._stream.write(f"\r{step:<15} [{bar}] {done:4.0%} {text}\x1b[K")
        else:
            self._stream.write(f"{step}: {done:.0%} {text}".rstrip() + "\n")
        self._stream.flush()

    def _end_line(self) -> None:
        if self._terminal and self._step:
            self._stream.write("\n")
        self._step = ""
