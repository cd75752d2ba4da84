"""Every kind of stack goes up, is then unchanged, and comes down without leaving anything."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.engine.bench import EXISTING, Bench

KINDS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "dev": ("dev", {}),
    "drcio": ("drcio", {}),
    "existing": ("drcio", EXISTING),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_goes_up_stays_as_it_is_and_comes_down_whole(bench: Bench, kind: str) -> None:
    like, config = KINDS[kind]
    if kind == "existing":
        assert bench.existing.leftovers() == []
    stack = bench.stack(f"life-{kind}", like, config)

    first = stack.up()
    assert set(first.counts) <= {"create", "read"}
    assert stack.up().changed == []
    outputs = stack.outputs()
    assert outputs["scenario"] == "drcio"
    if like == "drcio":
        assert (outputs["verdict"], outputs["p95_ms"]) == ("pass", 9.0)
    assert stack.refresh().changed == []
    stack.destroy()
    assert bench.leftovers() == []
