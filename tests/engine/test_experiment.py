"""An experiment that does not work out: it neither wedges the stack nor hides what the stack is."""

from __future__ import annotations

import pytest

from tests.engine.bench import EXISTING, Bench
from tests.engine.nodes import End, Life

SHORT = {"drcio:durationSeconds": 10, "drcio:experiment.warmupSeconds": 0}
"""With the bench's slack, how long an experiment is waited for."""
LEAN = {**EXISTING, **SHORT, "drcio:monitoring.enabled": False}
EXPERIMENT = "drcio-experiment"
ENDS = {"fails": End.FAIL, "is-evicted": End.EVICT, "has-no-image": End.NO_IMAGE, "hangs": End.RUN}


@pytest.mark.parametrize("end", ENDS)
def test_an_experiment_that_ends_badly_is_run_again_by_the_next_update(bench: Bench, end: str) -> None:
    stack = bench.stack(f"experiment-{end}", "baseline", LEAN)
    bench.existing.lives[EXPERIMENT] = [Life(end=ENDS[end])]

    failed = stack.up(fails=None)

    assert not failed.hung
    outputs = stack.outputs()
    assert outputs["serviceUrl"].startswith("http://hp-gnn-service.")
    assert outputs.get("verdict") != "pass"
    stack.up()
    assert stack.outputs()["verdict"] == "pass"
    assert stack.up().changed == []
    stack.destroy()
    assert bench.leftovers() == []
