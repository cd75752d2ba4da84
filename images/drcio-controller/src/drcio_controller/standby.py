"""Reasons for an agent to write nothing: a node it cannot steer, or one that another agent steers.

Such an agent stays up and says so. Ending would be a crash loop: no metric, no status, the same line in
the log every few minutes.
"""

from __future__ import annotations

import fcntl
import os
from enum import StrEnum
from pathlib import Path
from typing import Final

from drcio_controller.errors import KernelFileError, NodeError
from drcio_controller.kernel.files import read_text
from drcio_controller.kernel.parse import parse_controllers


class Standby(StrEnum):
    """Why an agent is passive."""

    CGROUP_V1 = "cgroup-v1"
    HYBRID = "hybrid"
    NO_IO = "no-io"
    LOCKED = "locked"


REMEDIES: Final = {
    Standby.CGROUP_V1: (
        "the node boots with cgroup v1, which has no I/O weights for buffered writes",
        "boot with systemd.unified_cgroup_hierarchy=1 (the default of AL2023, Debian 11 and later)",
    ),
    Standby.HYBRID: (
        "the node boots with both cgroup versions, and the io controller is v1's",
        "boot with systemd.unified_cgroup_hierarchy=1",
    ),
    Standby.NO_IO: (
        "the kernel offers cgroup v2 no io controller: a v1 hierarchy has it, or it is turned off",
        "unmount the v1 hierarchy of blkio (findmnt -t cgroup), boot without cgroup_disable=io or blkio;"
        " the kernel needs CONFIG_BLK_CGROUP",
    ),
    Standby.LOCKED: (
        "another drcio-controller steers this node",
        "keep one: look for a second release, or a DaemonSet of an earlier one, in any namespace",
    ),
}
"""What is so, and what to do about it."""

_V2_FILES: Final = ("cgroup.controllers", "cgroup.subtree_control")
"""In every cgroup of version 2, the root's own folder included (cgroup-v2.rst, "Core Interface Files")."""

_LOCKED_FILE: Final = "cgroup.subtree_control"
_ROOT_HINT: Final = "mount the host's /sys/fs/cgroup there, or name where it is by --cgroup-root"
_V1_CONTROLLERS: Final = ("blkio", "memory", "cpu", "cpu,cpuacct", "systemd")


def cgroup_standby(root: Path) -> Standby | None:
    """Return why the cgroup tree at `root` cannot be steered, or None for cgroup v2.

    Raises:
        NodeError: it is no cgroup tree of any version.
    """
    try:
        missing = [name for name in _V2_FILES if not (root / name).exists()]
        if not missing:
            return None
        if (root / "unified" / "cgroup.controllers").exists():
            return Standby.HYBRID
        if any((root / name / "cgroup.procs").exists() for name in _V1_CONTROLLERS):
            return Standby.CGROUP_V1
    except OSError as error:
        raise NodeError(f"{root} cannot be looked into: {error.strerror}", hint=_ROOT_HINT) from error
    raise NodeError(
        f"{root} is no cgroup tree: it has no {' and no '.join(missing)}, which cgroup v2 has, nor a v1"
        " controller's folder",
        hint=_ROOT_HINT,
    )


def node_standby(root: Path) -> Standby | None:
    """Return why nothing on the node can be steered, or None for a cgroup v2 tree with an io controller.

    Raises:
        NodeError: it is no cgroup tree of any version.
    """
    return cgroup_standby(root) or (None if offers_io(root) else Standby.NO_IO)


def offers_io(root: Path) -> bool:
    """Return whether the kernel has an io controller for the cgroup v2 tree at `root`."""
    try:
        return "io" in parse_controllers(read_text(root / "cgroup.controllers"))
    except KernelFileError:
        return False


class NodeLock:
    """Held by the one agent that writes on a node.

    It is taken on a file of the host's cgroup tree itself, which is one for all containers and all
    releases whatever their state folders are, and it ends with the process that holds it.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / _LOCKED_FILE
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock; return False where another agent has it.

        Raises:
            NodeError: the file to take it on is not there or cannot be opened.
        """
        if self._descriptor is not None:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NodeError(f"{self._path} cannot be opened: {error.strerror}", hint=_ROOT_HINT) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let the next one have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def held_by_somebody(self) -> bool:
        """Return whether any agent holds it; for a look from outside."""
        if self._descriptor is not None:
            return True
        try:
            free = self.acquire()
        except NodeError:
            return False
        self.release()
        return not free
