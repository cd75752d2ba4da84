"""Read what a machine's CPUs do, from /proc (kernel: Documentation/filesystems/proc.rst, accounting/psi.rst).

`read_cpu` is one look, for a node and its host alike; `HostWatch` looks once a second beside a run.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from node_twin.jsontypes import JsonObject
from node_twin.kerneltext import pressure_totals_us, read

log = logging.getLogger(__name__)

PROC_ROOT: Final = Path("/proc")
_US_PER_TICK: Final = 1_000_000 // os.sysconf("SC_CLK_TCK")
_IDLE_COLUMNS: Final = (3, 4)  # idle and iowait: a CPU that waits for a disk could have worked
_STEAL_COLUMN: Final = 7
_LAST_COLUMN: Final = 8  # guest time comes after; it is part of the user time before


def read_cpu(*, own_root: int | None = None, proc: Path = PROC_ROOT) -> JsonObject:
    """Look at all CPUs once: `cpu` of a `drcio.run/1` sample, its times since boot and summed over the CPUs.

    `own_root` is the process whose tree counts as the experiment's own.

    Raises OSError or ValueError where /proc/stat is not there or not as documented.
    """
    lines = (proc / "stat").read_text(encoding="ascii").splitlines()
    first = lines[0].split() if lines else []
    if first[:1] != ["cpu"] or len(first) <= _LAST_COLUMN:
        raise ValueError(f"{proc / 'stat'}: first line is {' '.join(first)!r}; expected cpu and its times")
    ticks = [int(word) for word in first[1 : _LAST_COLUMN + 1]]
    idle, steal = sum(ticks[column] for column in _IDLE_COLUMNS), ticks[_STEAL_COLUMN]
    load = read(proc / "loadavg").split()
    pressure = read(proc / "pressure" / "cpu")
    return {
        "cpus": sum(line.startswith("cpu") for line in lines) - 1,
        "busy_us": (sum(ticks) - idle - steal) * _US_PER_TICK,
        "idle_us": idle * _US_PER_TICK,
        "steal_us": steal * _US_PER_TICK,
        "own_us": None if own_root is None else _tree_us(own_root, proc),
        "pressure_us": pressure_totals_us(pressure)[0] if pressure else None,
        "load_1m": float(load[0]) if load else None,
    }


class HostWatch:
    """Look at this machine's CPUs once a second between entering and leaving; `since` hands the looks out."""

    def __init__(
        self, *, interval_s: float = 1.0, clock: Callable[[], float] = time.monotonic, proc: Path = PROC_ROOT
    ) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._proc = proc
        self._seen: list[tuple[float, JsonObject]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def seen(self) -> tuple[tuple[float, JsonObject], ...]:
        """Return the looks so far, each with its time by the clock that was given."""
        return tuple(self._seen)

    def _run(self) -> None:
        while True:
            try:
                self._seen.append((self._clock(), read_cpu(own_root=os.getpid(), proc=self._proc)))
            except (OSError, ValueError) as error:
                log.warning("event=host_look_failed reason=%r", str(error))
                return  # it will not be there in a second either; the verdict counts it as unknown
            if self._stop.is_set():
                return
            self._stop.wait(self._interval_s)


def _tree_us(root: int, proc: Path) -> int:
    """Return the CPU time of a process and its descendants, those that have ended and were waited for too."""
    total, waiting = 0, [root]
    while waiting:
        folder = proc / str(waiting.pop())
        # The command's name, in parentheses, may hold spaces and parentheses itself.
        fields = read(folder / "stat").rpartition(")")[2].split()
        if not fields:
            continue  # ended between the listing and the reading
        total += sum(int(word) for word in fields[11:15])  # utime, stime, cutime, cstime
        for task in folder.glob("task/*/children"):
            waiting += [int(word) for word in read(task).split()]
    return total * _US_PER_TICK
