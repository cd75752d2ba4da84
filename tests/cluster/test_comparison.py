"""The stand-in kubelet does to the same pods what the real one does, but for what is listed here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from tests.cluster.observe import Observations, Seen
from tests.cluster.pods import ENDING, RESTARTING, RUNNING

LISTED: Final[Mapping[str, str]] = {
    "pods memory.max": "nothing of the twin's node is reserved; a limit of all that there is limits nothing",
    "pods pids.max": "the same: the real kubelet writes the node's own limit",
}
"""A difference's place (its last words) and why it stays."""


def differences(ours: object, theirs: object, where: str = "") -> Iterator[str]:
    """Name each place in which two trees differ, with what stands there."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in sorted({*ours, *theirs}):
            yield from differences(ours.get(key), theirs.get(key), f"{where} {key}".strip())
    elif ours != theirs:
        yield f"{where}: stand-in {ours!r}, real {theirs!r}"


def unlisted(found: Iterator[str]) -> str:
    """Return the differences that no reason is given for, a line each: pytest shortens lists."""
    lines = (line for line in found if not any(line.partition(":")[0].endswith(place) for place in LISTED))
    return "\n".join(lines)


def _tree(seen: Seen) -> Mapping[str, object]:
    return {
        "status": seen.facts,
        "log": dict(enumerate(seen.log)),
        "pod": seen.pod_knobs,
        "container": seen.container_knobs,
        "path": seen.paths,
    }


@pytest.mark.parametrize("name", [*RUNNING, *ENDING, *RESTARTING])
def test_pod_is_the_same(standin: Observations, real: Observations, name: str) -> None:
    assert unlisted(differences(_tree(standin.pods[name]), _tree(real.pods[name]))) == ""


def test_levels_above_pods_are_the_same(standin: Observations, real: Observations) -> None:
    assert unlisted(differences(standin.qos_knobs, real.qos_knobs)) == ""


def test_deleted_pods_leave_no_cgroup(standin: Observations, real: Observations) -> None:
    assert standin.left == ()
    assert real.left == ()


@pytest.mark.parametrize("place", sorted(LISTED))
def test_listed_difference_is_still_there(standin: Observations, real: Observations, place: str) -> None:
    found = list(differences(standin.qos_knobs, real.qos_knobs))
    for name in real.pods:
        found += differences(_tree(standin.pods[name]), _tree(real.pods[name]), name)
    assert any(line.partition(":")[0].endswith(place) for line in found)
