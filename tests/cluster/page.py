"""What the suite compared, as a page: docs/reference/kubelets.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tests.cluster.compare import LISTED, Compared, compared_levels, compared_pod
from tests.cluster.observe import Observations

HEAD: Final = """# The twin's kubelet beside the real one

What `make test-cluster` compares: the same {pods} pods on the twin, under the kubelet of its own, and
on the local cluster's node, under the real one, with the systemd cgroup driver as on EKS. The suite
writes this page, and fails where the page is not what it has seen. A number is how many values are the
same on both; a footnote is a difference that stays.
"""
_STATUS: Final = {
    "phase": "phase",
    "qosClass": "QoS class",
    "conditions": "conditions",
    "initContainerStatuses": "init containers: state, exit code, reason, ready, restarted",
    "containerStatuses": "containers: state, exit code, reason, ready, restarted",
}
_LEVELS: Final = ("above pods", "pods", "containers")


def page(ours: Observations, theirs: Observations) -> str:
    """Return the whole page."""
    of_pods = [it for name in theirs.pods for it in compared_pod(ours, theirs, name)]
    cells: dict[str, dict[str, list[Compared]]] = {}
    facts: dict[str, list[Compared]] = {}
    for it in compared_levels(ours, theirs):
        cells.setdefault(it.where[-1], {}).setdefault("above pods", []).append(it)
    for it in of_pods:
        match it.where[1:]:
            case ("pod" | "container" as kind, *_):
                cells.setdefault(it.where[-1], {}).setdefault(f"{kind}s", []).append(it)
            case ("status", fact, *_):
                facts.setdefault(_STATUS[fact.partition(" ")[0]], []).append(it)
            case ("log", *_):
                facts.setdefault("lines of logs: environment, volumes, their own words", []).append(it)
            case _:
                facts.setdefault("paths of cgroups", []).append(it)
    lines = [
        HEAD.format(pods=len(theirs.pods)),
        *_table(("of pods", "same"), ((what, _cell(facts[what])) for what in sorted(facts))),
        "",
        *_table(
            ("knob", *_LEVELS),
            (
                (f"`{knob}`", *(_cell(cells[knob].get(level, ())) for level in _LEVELS))
                for knob in sorted(cells)
            ),
        ),
        "",
        "A pod that was deleted leaves no cgroup on either.",
    ]
    if LISTED:
        lines += ["", *(f"{number}. `{place}`: {LISTED[place]}." for place, number in _numbers().items())]
    return "\n".join(lines) + "\n"


def _numbers() -> dict[str, int]:
    return {place: number for number, place in enumerate(sorted(LISTED), start=1)}


def _cell(values: Sequence[Compared]) -> str:
    """Return how many are the same, and the footnotes of those that are not."""
    if not values:
        return "-"
    differing = [it for it in values if it.differs]
    if not differing:
        return str(len(values))
    numbers = _numbers()
    notes = {f"({numbers[it.listed]})" if it.listed else f"**{it}**" for it in differing}
    return f"{len(values) - len(differing)} of {len(values)} {' '.join(sorted(notes))}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
