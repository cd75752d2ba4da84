"""Compile the model once per version of its source."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Final

from experiments.errors import ExperimentError

SOURCE: Final = Path(__file__).with_name("node.c")
_FLAGS: Final = ("-O2", "-shared", "-fPIC", "-std=gnu11")


class SimulatorError(ExperimentError):
    """The simulator cannot be built on this machine."""


def library(cache: Path) -> Path:
    """Return the compiled model, built if the cache has none of this source.

    Raises:
        SimulatorError: there is no C compiler, or it refuses the source.
    """
    digest = hashlib.sha256(SOURCE.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    built = cache / f"simulator-{digest}.so"
    if built.exists():
        return built
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f"{built.name}.{os.getpid()}"
    command = [os.environ.get("CC", "cc"), *_FLAGS, "-o", str(partial), str(SOURCE), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise SimulatorError(
            f"the simulator is compiled once and there is no C compiler: {command[0]!r} was not found",
            hint="install gcc and libc6-dev, or name a compiler in CC",
        ) from error
    if done.returncode:
        raise SimulatorError(f"compiling {SOURCE.name} failed:\n{done.stderr.strip()[-2000:]}")
    partial.replace(built)
    return built
