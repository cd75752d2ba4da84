"""Waiting on a cluster whose node is slow by the host's clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.waits import wait_until

PATIENCE_S: Final = 900.0
"""Of the host's time: an agent takes ten seconds of the node's to start."""


def eventually(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    """Wait until it holds; fail with what is seen instead."""
    assert wait_until(condition, PATIENCE_S, every_s=1.0), what()
