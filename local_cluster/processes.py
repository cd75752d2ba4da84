"""Programs that run beside the tests and end with them, however the tests end."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 180.0
"""How long what must happen is waited for; it takes seconds on a quiet machine."""
_PORTS: Final = range(20_000, 32_000)
"""Below those of outgoing connections (Linux's ip_local_port_range begins at 32768), which could take the
port of a server that is about to start, or is away for a while."""
_given: set[int] = set()


def free_port() -> int:
    """Return a TCP port of loopback that nobody uses now, and that this process has not had before."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - a port, not a secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


class Process:
    """One program with a log file of its own; the kernel kills it when this process dies."""

    def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        self._folder = folder
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                self._command,
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def stop(self, grace_s: float = 5.0) -> None:
        """Ask it to end, and kill it when it does not."""
        if self._running is None:
            return
        self._running.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._running.wait(grace_s)
        self._running.kill()
        self._running.wait()
        self._running = None

    def last_lines(self, count: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
