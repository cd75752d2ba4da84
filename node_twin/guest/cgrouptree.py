"""What is set in each pod cgroup of a node, as text by file: for looking at a node from outside of it.

Knobs only, no counters: two looks at a node on which nothing happened are equal.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from node_twin.jsontypes import JsonValue

PODS: Final = "kubepods*"
KNOBS: Final = (
    *("cpu.weight", "cpu.max", "cpu.idle", "cpuset.cpus"),
    *("memory.min", "memory.low", "memory.high", "memory.max", "memory.swap.max", "memory.oom.group"),
    *("io.weight", "io.max", "io.latency", "io.bfq.weight"),
    *("pids.max",),
)


def knobs_of_pods(root: Path) -> dict[str, JsonValue]:
    """Return each cgroup below kubepods, by its path from `root`, with the knobs that it has.

    A cgroup that goes away meanwhile is left out.
    """
    found: dict[str, JsonValue] = {}
    # Not rglob(): that raises where a folder goes away between being listed and being read.
    folders = sorted(Path(name) for top in root.glob(PODS) for name, _, _ in os.walk(top))
    for folder in folders:
        try:
            knobs = {name: (folder / name).read_text().strip() for name in KNOBS if (folder / name).exists()}
        except OSError:
            continue
        if not folder.exists():
            continue
        found[folder.relative_to(root).as_posix()] = dict(knobs)
    return found
