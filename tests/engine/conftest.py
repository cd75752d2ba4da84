"""One bench for the session; every test leaves it as it found it, or fails."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from local_cluster.programs import find
from tests.engine.bench import Bench

SHARING = ("test_beside", "test_scenarios", "test_experiment", "test_platform", "test_changes", "test_pages")
"""The modules whose tests share a running stack."""
KEPT = Path(__file__).resolve().parents[2] / ".cache" / "engine-logs"
"""Logs of the control planes of the last session that had a failure."""


def pytest_configure(config: pytest.Config) -> None:
    # The Pulumi SDK leaves the event loops of its threads open (as stacks/preview/dryrun.py knows, too).
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")
    config.addinivalue_line("filterwarnings", "ignore::ResourceWarning")


class _OneStack(LoadScopeScheduling):
    """Tests that share a running stack stay on one worker; every other test goes where there is room."""

    def _split_scope(self, nodeid: str) -> str:
        shared = re.search(rf"test_settings\.py::\w+\[(\w+)-|({'|'.join(SHARING)})\.py", nodeid)
        return shared[0] if shared else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    return _OneStack(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest first: what shares a stack stays on one worker, and the others fill the time at the end.
    items.sort(key=lambda item: "test_settings" not in item.nodeid)


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    """The engine, an account and clusters; programs that are missing fail the tests, they skip nothing."""
    folder = Path(tempfile.mkdtemp(prefix="drcio-engine-"))
    made = Bench(find(), folder)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        if made.failed:
            shutil.rmtree(KEPT, ignore_errors=True)
            for log in folder.glob("*/*.log"):
                (KEPT / log.parent.name).mkdir(parents=True, exist_ok=True)
                shutil.copy(log, KEPT / log.parent.name)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Print what the account saw, and clear the bench, where a test failed that had it to itself."""
    report = yield
    given = item.funcargs if isinstance(item, pytest.Function) else {}
    made = given.get("bench")
    if report.failed and isinstance(made, Bench) and made.started:
        report.sections.append(("the account's last entries", made.failure_report()))
        made.failed = True
        # A stack that outlives its tests sees to itself (running.py).
        if not {"running", "stacks"} & set(given):
            made.clear()
    return report
