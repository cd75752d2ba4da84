"""What takes the node's CPU: pods, programs of the node, the kernel. A look in the guest, sums outside.

A look is every process's CPU time, and every pod's and slice's by its cgroup, which has the time of those
that ended in it too. Source of the fields: proc_pid_stat(5); kernel, admin-guide/cgroup-v2.rst, cpu.stat.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from node_twin.jsontypes import JsonObject, JsonValue

PODS: Final = "kubepods"
KERNEL: Final = "the kernel"
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_US_PER_S: Final = 1_000_000
_KERNEL_THREAD: Final = 0x00200000  # PF_KTHREAD
_ROOT: Final = "/"


def look(now_s: float, *, proc: Path, cgroup_root: Path) -> JsonObject:
    """Return the CPU time of every process and cgroup until now; what ends meanwhile is left out."""
    processes = {}
    for folder in proc.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                processes[folder.name] = _process(folder)
    return {"at_s": now_s, "processes": processes, "cgroups": dict(_cgroups(cgroup_root))}


def _process(folder: Path) -> JsonObject:
    name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
    fields = rest.split()
    kernel = int(fields[6]) & _KERNEL_THREAD
    return {
        "name": KERNEL if kernel else name,
        "began": fields[19],
        "cgroup": (folder / "cgroup").read_text().strip().partition("::")[2],
        "cpu_s": (int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
    }


def _cgroups(root: Path) -> Iterator[tuple[str, JsonValue]]:
    folders = [path for path in root.iterdir() if path.is_dir()]
    pods = [path for path in root.glob(f"{PODS}*/**/*pod*") if path.is_dir()]
    for folder in (*folders, *pods):
        with contextlib.suppress(OSError):
            first = (folder / "cpu.stat").read_text().split(maxsplit=2)
            yield f"/{folder.relative_to(root)}", int(first[1]) / _US_PER_S


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What the node's CPU did between two looks, by the node's clock."""

    seconds: float
    cpu_s: Mapping[str, float]
    """By pod or program, the most first."""

    def told(self, at_least: float = 0.01) -> str:
        """Return it as a line; who took less than a share of a CPU is added up."""
        shares = {name: taken / self.seconds for name, taken in self.cpu_s.items()} if self.seconds else {}
        shown = [f"{name} {share:.0%}" for name, share in shares.items() if share >= at_least]
        rest = sum(share for share in shares.values() if share < at_least)
        return (
            f"{sum(shares.values()):.0%} in {self.seconds:.1f} s: {', '.join([*shown, f'others {rest:.0%}'])}"
        )


def spent(before: JsonObject, after: JsonObject, pods: Mapping[str, str], idle: str) -> Spent:
    """Compare two looks; `pods` has a name by uid, `idle` names the slice that stands for idle time.

    What is in no pod is named by its program; what of a slice ended meanwhile, by the slice.
    """
    taken: dict[str, float] = {}
    groups = _grown(_numbers(before["cgroups"]), _numbers(after["cgroups"]))
    programs = _programs(before, after)
    slices = {path: grown_s for path, grown_s in groups.items() if path.count("/") == 1}
    for path, grown_s in slices.items():
        if path.startswith(f"/{PODS}"):
            members = {name: of_s for it, of_s in groups.items() if (name := _pod(it, pods)) is not None}
        else:
            members = {name: of_s for (group, name), of_s in programs.items() if _is_below(group, path)}
        if path != f"/{idle}":
            ended_s = max(grown_s - sum(members.values()), 0.0)
            for name, of_s in (*members.items(), (f"ended in {path[1:]}", ended_s)):
                taken[name] = taken.get(name, 0.0) + of_s
    for (group, name), of_s in programs.items():
        if group == _ROOT:
            taken[name] = taken.get(name, 0.0) + of_s
    most_first = sorted(taken.items(), key=lambda item: -item[1])
    return Spent(
        seconds=cast(float, after["at_s"]) - cast(float, before["at_s"]),
        cpu_s={name: of_s for name, of_s in most_first if of_s > 0},
    )


def _programs(before: JsonObject, after: JsonObject) -> dict[tuple[str, str], float]:
    """Return what each program took, by its cgroup and name; one that is new took all that it has."""
    earlier = cast("Mapping[str, JsonObject]", before["processes"])
    found: dict[tuple[str, str], float] = {}
    for pid, process in cast("Mapping[str, JsonObject]", after["processes"]).items():
        known = earlier.get(pid)
        since_s = known["cpu_s"] if known is not None and known["began"] == process["began"] else 0.0
        key = cast(str, process["cgroup"]), cast(str, process["name"])
        found[key] = found.get(key, 0.0) + cast(float, process["cpu_s"]) - cast(float, since_s)
    return found


def _pod(path: str, pods: Mapping[str, str]) -> str | None:
    """Return the name of the pod whose own cgroup this is, by either driver's name of it."""
    last = path.rpartition("/")[2].removesuffix(".slice")
    return next(
        (name for uid, name in pods.items() if last.endswith((f"pod{uid}", f"pod{uid.replace('-', '_')}"))),
        None,
    )


def _grown(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {path: value - before.get(path, 0.0) for path, value in after.items()}


def _numbers(value: JsonValue) -> Mapping[str, float]:
    return cast("Mapping[str, float]", value)


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}/")
