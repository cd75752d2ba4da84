"""The node's image store: a disk on which containerd finds its images unpacked, made once per set of images.

The host's own containerd program imports them, with a root of its own and no part of the kubelet's
interface; what it leaves becomes a file system. A node that boots with it imports nothing.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_cluster.errors import ImageError, ToolMissing
from node_twin.tools import find_tool

NAMESPACE: Final = "k8s.io"
"""Where the kubelet's interface of containerd has its images."""
ROOM_BYTES: Final = 4 << 30
"""For what containers write; a hole in a sparse file until they do."""
_START_S: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An image of the store."""

    tag: str
    """docker.io/drcio/NAME:TAG"""
    digest: str

    @property
    def reference(self) -> str:
        """How a pod names it: by digest."""
        return f"{self.tag.rpartition(':')[0].removeprefix('docker.io/')}@{self.digest}"


@contextlib.contextmanager
def containerd(folder: Path) -> Iterator[Sequence[str]]:
    """Run a containerd that stores images and does nothing else; yield the words of a `ctr` that asks it.

    Its root is `folder/containerd`. Raises ToolMissing or ImageError.
    """
    program = find_tool("containerd")
    if program is None or shutil.which("ctr") is None:
        raise ToolMissing("containerd is not installed", hint="apt-get install containerd")
    with tempfile.TemporaryDirectory(prefix="drcio-store-") as scratch:
        socket = Path(scratch) / "socket"
        settings = Path(scratch) / "config.toml"
        settings.write_text(
            f'version = 2\nroot = "{folder / "containerd"}"\nstate = "{scratch}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n'
            f'[grpc]\n  address = "{socket}"\n'
        )
        log = Path(scratch) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", program, f"--config={settings}"],
                stdout=output,
                stderr=output,
            )
        try:
            deadline = time.monotonic() + _START_S
            while not socket.is_socket():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ImageError(
                        f"containerd does not start:\n{log.read_text()[-2000:]}", hint="it needs root"
                    )
                time.sleep(0.05)
            yield ("ctr", f"--address={socket}", f"--namespace={NAMESPACE}")
        finally:
            process.terminate()
            process.wait(timeout=30)
            # What it was unpacking stays mounted, and the folder could never be removed.
            for left in (folder / "containerd" / "tmpmounts").glob("*"):
                subprocess.run(["umount", left], check=False, stderr=subprocess.DEVNULL)


def fill(folder: Path, archives: Sequence[Path]) -> list[StoredImage]:
    """Import archives into a store below `folder`, unpacked, and name each image by its digest too."""
    with containerd(folder) as ctr:
        for archive in archives:
            _run(*ctr, "images", "import", "--snapshotter=overlayfs", str(archive))
        listed = _run(*ctr, "images", "list").splitlines()[1:]
        images = [StoredImage(tag=words[0], digest=words[2]) for line in listed if (words := line.split())]
        for image in images:
            _run(*ctr, "images", "tag", image.tag, f"docker.io/{image.reference}")
    return images


def write_disk(folder: Path, disk: Path) -> None:
    """Make a sparse ext4 image of what lies in `folder`, with room for containers to write."""
    used = int(_run("du", "--summarize", "--block-size=1", "--one-file-system", str(folder)).split()[0])
    partial = disk.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    size_mib = (used + used // 5 + ROOM_BYTES) >> 20
    mke2fs = find_tool("mke2fs") or "mke2fs"
    options = ("-q", "-F", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard")
    _run(mke2fs, *options, "-d", str(folder), str(partial), f"{size_mib}M")
    partial.rename(disk)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode != 0:
        raise ImageError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
