"""However the cluster ends, nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local_cluster.images.prepare import Prepared
from local_cluster.programs import ROOT

# Three times a boot, and the images where they are not built yet.
pytestmark = pytest.mark.timeout(3600)

UP = """
import functools, sys
from pathlib import Path
from local_cluster import cli, cluster
cli.prepared = functools.partial(cli.prepared, names=sys.argv[2:])
cluster.FOLDER = Path(sys.argv[1]) / "run"
cluster.LOCK = Path(sys.argv[1]) / "lock"
sys.exit(cli.main(["up", "--empty-volume"]))
"""
WITHIN_S = 60.0


def running_in(folder: Path) -> list[str]:
    """Return the command line of each process that works in a folder or was told of it."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(folder) in command or place.startswith(str(folder)):
            found.append(command[:200])
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left(images: Prepared, tmp_path: Path, number: signal.Signals) -> None:
    mounts = Path("/proc/mounts").read_text()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-c", UP, str(tmp_path), *images.references]
    variables = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        told = []
        for line in up.stdout:
            told.append(line)
            if "the node is booting" in line:
                break
        assert any("qemu" in it for it in running_in(tmp_path)), told
        up.send_signal(number)
        up.wait(WITHIN_S)
    deadline = time.monotonic() + WITHIN_S
    while running_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert running_in(tmp_path) == []
    assert Path("/proc/mounts").read_text() == mounts
    assert list(scratch.iterdir()) == []
