"""A Docker engine of our own: its data in a folder of ours, gone when we are."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_cluster.errors import ImageError, ToolMissing
from node_twin.tools import find_tool

_START_S: Final = 60.0
_STOP_S: Final = 60.0
BUILDS_ONLY: Final = ("--bridge=none", "--iptables=false", "--ip6tables=false")
"""An engine that only builds, on the host's network, needs none of its own."""


@dataclass(frozen=True)
class Engine:
    """A running engine."""

    socket: Path

    def run(self, *arguments: str, timeout_s: float = 900, check: bool = True) -> str:
        """Return what a docker command prints; raises ImageError with its last lines where it fails.

        Unchecked, its messages are part of what is returned.
        """
        done = subprocess.run(
            ["docker", *arguments],
            env={**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_BUILDKIT": "0"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            tail = (done.stdout + done.stderr)[-4000:]
            raise ImageError(f"docker {' '.join(arguments)} ended with {done.returncode}:\n{tail}")
        return done.stdout if check else done.stdout + done.stderr

    def inspect(self, image: str, template: str) -> str:
        """Return what of an image a Go template picks."""
        return self.run("image", "inspect", "--format", template, image).strip()


@contextlib.contextmanager
def running(folder: Path, data: Path, options: Sequence[str] = ()) -> Iterator[Engine]:
    """Start an engine with its socket and state in `folder` and its images in `data`; stop it at the end.

    Raises:
        ToolMissing: docker is not installed.
        ImageError: it does not start (it needs root and namespaces).
    """
    program = find_tool("dockerd")
    if program is None or shutil.which("docker") is None:
        raise ToolMissing("no Docker engine is installed", hint="apt-get install docker.io")
    log = folder / "log"
    command = [
        *("setpriv", "--pdeathsig", "TERM", "--"),
        program,
        f"--data-root={data}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'pid'}",
        f"--host=unix://{folder / 'socket'}",
        *options,
    ]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    engine = Engine(socket=folder / "socket")
    try:
        _wait_until_it_answers(engine, process, log)
        yield engine
    finally:
        process.terminate()
        process.wait(timeout=_STOP_S)
        # It leaves its network namespace mounted, and the folder could never be removed.
        subprocess.run(
            ["umount", folder / "exec" / "netns" / "default"], check=False, stderr=subprocess.DEVNULL
        )


def _wait_until_it_answers(engine: Engine, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while "Server Version" not in engine.run("info", check=False):
        if process.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log.read_text().splitlines()[-8:])
            raise ImageError(
                f"the Docker engine does not start on this machine:\n{tail}",
                hint="it needs root and namespaces",
            )
        time.sleep(0.5)
