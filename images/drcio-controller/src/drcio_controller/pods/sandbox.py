"""Find what a sandboxed pod does outside of its own cgroup: Kata's overhead cgroup.

With `sandbox_cgroup_only=false` Kata keeps vCPU threads in the pod's cgroup and moves everything else, the
threads that do the I/O first of all, to a cgroup below `/kata_overhead` at the root of the tree. Its Go
runtime names it after the sandbox's id (virtcontainers/sandbox.go, createResourceController), which the
sandbox's own cgroup has in its name: `kata_ID` or `RUNTIME-ID.scope` in the pod's, or, where Kata does not
speak to systemd, `SLICE:RUNTIME:ID` at the root. Its Rust runtime names it after the sandbox's path as the
container runtime gave it: below the pod's own path with the cgroupfs driver, `SLICE:RUNTIME:ID` with the
systemd driver. With `sandbox_cgroup_only=true` everything is in the pod's cgroup and there is nothing to
find. gVisor stays in the pod's cgroup as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

OVERHEAD: Final = "kata_overhead"

_ID_END: Final = re.compile(r"(?:^|[-_:])([A-Za-z0-9]{12,128})(?:\.scope)?\Z")
"""The sandbox's id at the end of a cgroup's name; runtimes use 64 hexadecimal digits."""


class Sandboxes:
    """Finds the overhead cgroups, and remembers which pod's a sandbox is."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pods: dict[str, str] = {}
        """A sandbox's id -> its pod's cgroup."""
        self._looked_for: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())

    def overhead(self, cgroups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """Return the overhead cgroups of each pod that has one, by uid; `cgroups` are the pods' own."""
        folder = self._root / OVERHEAD
        children = _folders(folder)
        if not children:
            return {}
        self._find_pods(children, cgroups.values())
        by_id: dict[str, list[str]] = {}
        for name in children:
            if name in self._pods:
                by_id.setdefault(self._pods[name], []).append(f"{OVERHEAD}/{name}")
        found = {}
        for uid, cgroup in cgroups.items():
            leaf = cgroup.rpartition("/")[2]
            own = [f"{OVERHEAD}/{name}" for name in children if name.startswith(f"{leaf}:")]
            own += by_id.get(cgroup, [])
            if (folder / cgroup).is_dir():
                own.append(f"{OVERHEAD}/{cgroup}")
            if own:
                found[uid] = tuple(own)
        return found

    def _find_pods(self, children: Collection[str], cgroups: Collection[str]) -> None:
        """Look which pod each unknown sandbox is of, when there is something new to look at."""
        known = frozenset(cgroups)
        self._pods = {name: pod for name, pod in self._pods.items() if name in children and pod in known}
        unknown = frozenset(name for name in children if name not in self._pods and _ID_END.fullmatch(name))
        if not unknown or (unknown, known) == self._looked_for:
            return  # a sandbox that ended may leave its overhead cgroup behind for ever
        self._looked_for = (unknown, known)
        for cgroup in known:
            for name in _folders(self._root / cgroup):
                self._note(name, cgroup, unknown)
        leaves = {cgroup.rpartition("/")[2]: cgroup for cgroup in known}
        for name in _folders(self._root):
            pod = leaves.get(name.partition(":")[0])
            if pod is not None:
                self._note(name, pod, unknown)

    def _note(self, name: str, cgroup: str, unknown: Collection[str]) -> None:
        found = _ID_END.search(name)
        if found is not None and found[1] in unknown:
            self._pods[found[1]] = cgroup


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return []


def levels_above(cgroup: str) -> tuple[str, ...]:
    """Return every cgroup above one, the outermost first and the root left out."""
    parts = cgroup.split("/")
    return tuple("/".join(parts[:depth]) for depth in range(1, len(parts)))
