"""An experiment that does not work out: it neither wedges the stack nor hides what the stack is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from experiment_runner.manifest import RESULTS_KEY
from local_cluster.kube import Object
from tests.engine.bench import EXISTING, Bench
from tests.engine.nodes import End, Life
from tests.engine.runner import arguments_of
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


@pytest.mark.parametrize("text", ["{not json", ""])
def test_what_is_no_result_is_said_and_the_stack_goes_on(running: Running, text: str) -> None:
    stack, kube = running.stack, running.cluster.kube

    def leave(pod: Object) -> None:
        given = arguments_of(pod)
        path = f"/api/v1/namespaces/{given['namespace']}/configmaps/{given['config-map']}"
        kube.patch(path, {"data": {RESULTS_KEY: text}})

    running.cluster.lives[EXPERIMENT] = [Life(end=End.SUCCEED, before_end=leave)]

    outcome = running.up(fails=False, **{"experiment.run": f"odd-{len(text)}"})

    outputs = stack.outputs()
    assert outputs["verdict"] == "invalid"
    assert RESULTS_KEY in outputs["reasons"][0]
    assert "p95_ms" not in outputs
    assert any("the experiment's verdict is invalid" in message for message in outcome.messages)
    running.is_unchanged()
    running.up(fails=False, **{"experiment.run": f"even-{len(text)}"})
    assert stack.outputs()["verdict"] == "pass"
    running.broken = False
