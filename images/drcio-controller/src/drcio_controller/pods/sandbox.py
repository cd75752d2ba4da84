"""Find what a sandboxed pod does outside of its own cgroup: Kata's overhead cgroup.

With `sandbox_cgroup_only=false` Kata keeps vCPU threads in the pod's cgroup and moves everything else, the
threads that do the I/O first of all, to `/kata_overhead/$CGPATH` at the root of the tree, where $CGPATH is
the sandbox's path as the container runtime gave it (kata-containers, virtcontainers/sandbox.go): below the
pod's own path with the cgroupfs driver, `SLICE:PREFIX:ID` with the systemd driver. With
`sandbox_cgroup_only=true` everything is in the pod's cgroup and there is nothing to find. gVisor stays in
the pod's cgroup as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

OVERHEAD: Final = "kata_overhead"


def overhead_cgroups(root: Path, cgroups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the overhead cgroups of each pod that has one, by uid; `cgroups` are the pods' own."""
    folder = root / OVERHEAD
    try:
        children = [entry.name for entry in folder.iterdir() if entry.is_dir()]
    except OSError:
        return {}
    found = {}
    for uid, cgroup in cgroups.items():
        leaf = cgroup.rpartition("/")[2]
        own = [f"{OVERHEAD}/{name}" for name in sorted(children) if name.startswith(f"{leaf}:")]
        if (folder / cgroup).is_dir():
            own.append(f"{OVERHEAD}/{cgroup}")
        if own:
            found[uid] = tuple(own)
    return found


def levels_above(cgroup: str) -> tuple[str, ...]:
    """Return every cgroup above one, the outermost first and the root left out."""
    parts = cgroup.split("/")
    return tuple("/".join(parts[:depth]) for depth in range(1, len(parts)))
