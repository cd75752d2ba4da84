"""Who loads the machine and who measures on it, side by side without spoiling each other's work.

Image builds, scanners and tests with a guest of their own load it; tests that share the one guest
(group `guest` of pytest-xdist) run beside them, and those that measure come last and wait until
nobody loads the machine any more.
"""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

TURNS = Path(__file__).resolve().parents[1] / ".cache" / "turns.lock"
LOADING = ("docker", "scanners", "own_guest")
MEASURING = "measures"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("twin") and not item.get_closest_marker("own_guest"):
            item.add_marker(pytest.mark.xdist_group("guest"))
        elif any(map(item.get_closest_marker, LOADING)):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: item.get_closest_marker(MEASURING) is not None)


@pytest.fixture(scope="module", autouse=True)
def turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold the machine: together with others that load it, or alone to measure."""
    loads = any(map(request.node.get_closest_marker, LOADING))
    if not loads and not request.node.get_closest_marker(MEASURING):
        yield
        return
    TURNS.parent.mkdir(exist_ok=True)
    with TURNS.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH if loads else fcntl.LOCK_EX)  # closing the file gives it up
        yield
