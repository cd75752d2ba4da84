"""Who loads the machine and who measures on it, side by side without spoiling each other's work.

Image builds, scanners and tests with a guest of their own load it. The tests that share one guest run
beside them on one worker, and those of them that measure come last and wait until nobody loads the
machine any more.
"""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

TURNS = Path(__file__).resolve().parents[1] / ".cache" / "turns.lock"
LOADING = ("docker", "scanners", "fresh", "own_guest")
MEASURING = "measures"


class _SharedGuest(LoadFileScheduling):
    """A file stays on one worker, and so does the folder whose files share a guest."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0])
        return str(file.parent if file.parent == Path("tests/twin") else file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    return _SharedGuest(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
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
