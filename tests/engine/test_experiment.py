"""An experiment that does not work out: it neither wedges the stack nor hides what the stack is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.bench import EXISTING, Bench
from tests.engine.nodes import End, Life
from tests.engine.running import Running

SHORT = {"drcio:durationSeconds": 10, "drcio:experiment.warmupSeconds": 0}
"""With the bench's slack, how long an experiment is waited for."""
EXPERIMENT = "drcio-experiment"
ENDS = {"fails": End.FAIL, "is-evicted": End.EVICT, "has-no-image": End.NO_IMAGE, "hangs": End.RUN}


@pytest.fixture(scope="module")
def running(bench: Bench) -> Iterator[Running]:
    config = {**EXISTING, **SHORT, "drcio:monitoring.enabled": False}
    running = Running(bench, "experiment", "baseline", config)
    yield running
    assert running.end() == []


@pytest.mark.parametrize("end", ENDS)
def test_an_experiment_that_ends_badly_is_run_again_by_the_next_update(running: Running, end: str) -> None:
    stack = running.stack
    running.cluster.lives[EXPERIMENT] = [Life(end=ENDS[end])]

    failed = running.up(fails=None, **{"experiment.run": end})

    assert not failed.hung
    outputs = stack.outputs()
    assert outputs["serviceUrl"].startswith("http://hp-gnn-service.")
    assert outputs.get("verdict") != "pass"
    running.up()
    assert stack.outputs()["verdict"] == "pass"
    running.is_unchanged()
