"""Twins that start together prepare what they share one after the other."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from node_twin.errors import KernelError
from node_twin.host.session import TwinConfig, prepared


def test_second_says_that_it_waits_and_goes_on_once_the_first_is_done(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    waiting = threading.Event()
    config = TwinConfig(output=tmp_path / "out", cache=cache, volumes=(), kernel=str(tmp_path / "none"))
    with (cache / "lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        release = threading.Thread(target=lambda: (waiting.wait(30), fcntl.flock(first, fcntl.LOCK_UN)))
        release.start()
        with pytest.raises(KernelError, match="no kernel"):
            prepared(config, tell=lambda text: waiting.set() if text.startswith("waiting") else None)
        release.join()
    assert waiting.is_set()
