"""A scenario is switched in place, and each is measured with its own parts and no others."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.engine.bench import EXISTING, Bench

LEAN = {**EXISTING, "drcio:monitoring.enabled": False}
PARTS = {
    "baseline": {"hp-gnn-service"},
    "contention": {"hp-gnn-service", "lp-batch"},
    "drcio": {"hp-gnn-service", "lp-batch", "drcio-controller"},
}


@pytest.mark.parametrize(("before", "after"), list(permutations(PARTS, 2)))
def test_a_switch_in_place_measures_exactly_the_new_scenario(bench: Bench, before: str, after: str) -> None:
    cluster = bench.existing
    stack = bench.stack(f"switch-{before}-{after}", "drcio", {**LEAN, "drcio:scenario": before})
    stack.up()
    stack.configure({"drcio:scenario": after})

    stack.up()

    measured = cluster.runner.measurements[-1]
    assert (measured.scenario, set(measured.beside)) == (after, PARTS[after])
    outputs = stack.outputs()
    assert (outputs["scenario"], outputs["verdict"]) == (after, "pass")
    assert stack.up().changed == []
    stack.destroy()
    assert bench.leftovers() == []
