"""Two nodes' observations side by side, value by value, and what may differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tests.cluster.observe import Observations, Seen

_ALL: Final = "nothing of the twin's node is reserved; a limit of all that there is limits nothing"
LISTED: Final[Mapping[str, str]] = {
    "pods cpuset.cpus": f"the real kubelet names all of the node's CPUs; {_ALL}",
    "pods memory.max": _ALL,
    "pods pids.max": f"the real kubelet writes the node's own limit; {_ALL}",
    "container pids.max": (
        "systemd gives every scope 15% of the node's own limit (DefaultTasksMax), which depends on the"
        " node's memory; a batch job and a service of some dozens of threads are far from either"
    ),
}
"""A difference's place and why it stays."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One value on both nodes."""

    where: tuple[str, ...]
    ours: object
    theirs: object

    @property
    def differs(self) -> bool:
        return self.ours != self.theirs

    @property
    def place(self) -> str:
        """Return where it is in any pod and container, such as `container cpu.max`; `pods cpu.max` above."""
        match self.where:
            case (_pod, "container", _name, knob):
                return f"container {knob}"
            case (level, knob):
                return f"{level} {knob}"
        return " ".join(self.where[1:])

    @property
    def listed(self) -> str | None:
        """Return its place where LISTED has that."""
        return self.place if self.place in LISTED else None

    def __str__(self) -> str:
        return f"{' '.join(self.where)}: stand-in {self.ours!r}, real {self.theirs!r}"


def compared(ours: object, theirs: object, where: tuple[str, ...] = ()) -> Iterator[Compared]:
    """Go through two trees and name each value, with what stands there in both."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in sorted({*ours, *theirs}):
            yield from compared(ours.get(key), theirs.get(key), (*where, str(key)))
    else:
        yield Compared(where=where, ours=ours, theirs=theirs)


def compared_pod(ours: Observations, theirs: Observations, name: str) -> list[Compared]:
    return list(compared(_tree(ours.pods[name]), _tree(theirs.pods[name]), (name,)))


def compared_levels(ours: Observations, theirs: Observations) -> list[Compared]:
    """Compare the cgroups above the pods: `pods`, `burstable`, `besteffort`."""
    return list(compared(ours.qos_knobs, theirs.qos_knobs))


def _tree(seen: Seen) -> Mapping[str, object]:
    return {
        "status": seen.facts,
        "log": dict(enumerate(seen.log)),
        "pod": seen.pod_knobs,
        "container": seen.container_knobs,
        "path": seen.paths,
    }
