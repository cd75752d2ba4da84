"""A scenario is switched in place, and each is measured with its own parts and no others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.engine.bench import EXISTING, Bench
from tests.engine.running import Running

PARTS = {
    "baseline": {"hp-gnn-service"},
    "contention": {"hp-gnn-service", "lp-batch"},
    "drcio": {"hp-gnn-service", "lp-batch", "drcio-controller"},
}
ROUND = ("baseline", "contention", "drcio", "baseline", "drcio", "contention", "baseline")
"""Every switch from one scenario to another, once."""


@pytest.fixture(scope="module")
def running(bench: Bench) -> Iterator[Running]:
    config = {**EXISTING, "drcio:monitoring.enabled": False, "drcio:scenario": ROUND[0]}
    running = Running(bench, "switch", "drcio", config)
    yield running
    assert running.end() == []


@pytest.mark.parametrize(("before", "after"), list(pairwise(ROUND)))
def test_a_switch_in_place_measures_exactly_the_new_scenario(
    running: Running, before: str, after: str
) -> None:
    stack = running.stack
    if stack.outputs()["scenario"] != before:
        running.up(scenario=before)

    running.up(scenario=after)

    measured = running.cluster.runner.measurements[-1]
    assert (measured.scenario, set(measured.beside)) == (after, PARTS[after])
    outputs = stack.outputs()
    assert (outputs["scenario"], outputs["verdict"]) == (after, "pass")
    running.is_unchanged()
