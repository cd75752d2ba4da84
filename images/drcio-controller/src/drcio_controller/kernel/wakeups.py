"""Wake the loop when a pod's cgroup appears or goes, without waiting for the next tick."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

_IN_CREATE: Final = 0x100
_IN_DELETE: Final = 0x200
_IN_ONLYDIR: Final = 0x01000000
_BUFFER_BYTES: Final = 65536


class CgroupWatch:
    """Call back whenever a folder is made or removed in one of the watched ones.

    inotify on cgroupfs reports mkdir and rmdir as on any file system. What it reports is not read:
    any event means looking again, and several that come together are one.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._watched: dict[Path, int] = {}
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = self._libc.inotify_init1(os.O_CLOEXEC)
        if self._descriptor < 0:
            log.warning("no_inotify error=%r", os.strerror(ctypes.get_errno()))
            return
        threading.Thread(target=self._run, name="cgroup-watch", daemon=True).start()

    def watch(self, folders: Iterable[Path]) -> None:
        """Watch these folders; one that does not exist yet is tried again next time."""
        if self._descriptor < 0:
            return
        for folder in folders:
            try:
                inode = folder.stat().st_ino
            except OSError:
                self._watched.pop(folder, None)
                continue
            if self._watched.get(folder) == inode:
                continue
            mask = _IN_CREATE | _IN_DELETE | _IN_ONLYDIR
            if self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask) >= 0:
                self._watched[folder] = inode

    def _run(self) -> None:
        while True:
            try:
                os.read(self._descriptor, _BUFFER_BYTES)
            except OSError as error:
                log.warning("cgroup_watch_ended error=%r", error.strerror)
                return
            self._wake()
