"""Waiting, by the host's clock, for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(
    condition: Callable[[], bool], what: str, *, within_s: float = 15.0, every_s: float = 0.01
) -> None:
    """Look until it holds; fail with what was waited for."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s: {what}"
        time.sleep(every_s)
