"""Where things are on a twin: what its host and its guest agree on. Light, as both import it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

API_PORT: Final = 6443
CONTROL_PORT: Final = 6444
NAMESPACE: Final = "drcio"
NODE_NAME: Final = "node-twin"
RESULTS_MOUNT: Final = Path("/run/twin/results")
"""The host's folder, in the guest. Nothing that is measured writes here: that would wait for the host."""
PODS_STATE: Final = Path("/run/twin/pods")
"""In the guest's memory: logs and results of its pods, until they are collected."""
PODS_FOLDER: Final = "pods"
"""Of the output folder; the guest has it at RESULTS_MOUNT."""


def container_environment() -> dict[str, str]:
    """Return what an image would set; the guest runs the host's own interpreter, so both are the same."""
    binaries = Path(sys.executable).parent
    return {
        "PATH": f"{binaries}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
