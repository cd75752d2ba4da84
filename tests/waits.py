"""Waiting, by the host's clock, for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable

from local_cluster.processes import PATIENCE_S


def eventually(
    condition: Callable[[], bool], what: str, *, within_s: float = 15.0, every_s: float = 0.01
) -> None:
    """Look until it holds; fail with what was waited for."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s: {what}"
        time.sleep(every_s)


def wait_until(done: Callable[[], bool], within_s: float = PATIENCE_S, every_s: float = 0.2) -> bool:
    """Wait for what must come about, and return whether it did."""
    return not wait_until_none(lambda: [] if done() else ["not yet"], within_s, every_s)


def wait_until_none(
    look: Callable[[], list[str]], within_s: float = PATIENCE_S, every_s: float = 0.2
) -> list[str]:
    """Look until nothing is found, and return what still was when the time was up."""
    deadline = time.monotonic() + within_s
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(every_s)
    return found
