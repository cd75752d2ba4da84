"""The stand-in kubelet does to the same pods what the real one does, but for what is listed (`compare`)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from local_cluster.cluster import CACHE
from local_cluster.programs import ROOT
from tests.cluster.compare import LISTED, Compared, compared_levels, compared_pod
from tests.cluster.observe import Observations
from tests.cluster.page import page
from tests.cluster.pods import ENDING, RESTARTING, RUNNING

# The first one waits for both nodes, and for the images where they are not built yet.
pytestmark = [pytest.mark.short, pytest.mark.timeout(3600)]

PAGE = ROOT / "docs" / "reference" / "kubelets.md"
WRITTEN = CACHE / "cluster" / "kubelets.md"


def unlisted(values: Iterable[Compared]) -> str:
    """Return the differences that no reason is given for, a line each: pytest shortens lists."""
    return "\n".join(str(it) for it in values if it.differs and it.listed is None)


@pytest.mark.parametrize("name", [*RUNNING, *ENDING, *RESTARTING])
def test_pod_is_the_same(standin: Observations, real: Observations, name: str) -> None:
    assert unlisted(compared_pod(standin, real, name)) == ""


def test_levels_above_pods_are_the_same(standin: Observations, real: Observations) -> None:
    assert unlisted(compared_levels(standin, real)) == ""


def test_deleted_pods_leave_no_cgroup(standin: Observations, real: Observations) -> None:
    assert standin.left == ()
    assert real.left == ()


@pytest.mark.parametrize("place", sorted(LISTED))
def test_listed_difference_is_still_there(standin: Observations, real: Observations, place: str) -> None:
    found = compared_levels(standin, real)
    for name in real.pods:
        found += compared_pod(standin, real, name)
    assert any(it.differs and it.listed == place for it in found)


def test_page_is_what_was_seen(standin: Observations, real: Observations) -> None:
    written = page(standin, real)
    WRITTEN.write_text(written)
    assert PAGE.is_file(), f"hint: cp {WRITTEN} {PAGE}"
    assert written == PAGE.read_text(), f"hint: cp {WRITTEN} {PAGE}"
