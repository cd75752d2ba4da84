"""How far the simulated node and the twin agree on a seed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final, cast

from experiments.records.jsonfields import JsonObject

CLEAR: Final = 1.5
"""Two arms whose p95 is less than so far apart on the twin have no order to agree on."""


def p95_ms(record: JsonObject) -> dict[str, float]:
    return {
        name: cast(float, arm["p95_ms"])
        for name, arm in cast("Mapping[str, JsonObject]", record["arms"]).items()
    }


def expected_ms(simulated: JsonObject, twin: JsonObject) -> dict[str, float]:
    """Return each arm's simulated p95, and what the twin's CPU adds to it: as much as to `alone`."""
    added_ms = max(0.0, p95_ms(twin)["alone"] - p95_ms(simulated)["alone"])
    return {name: value + added_ms for name, value in p95_ms(simulated).items()}


def factors(simulated: JsonObject, twin: JsonObject) -> dict[str, float]:
    """Return by what factor each arm's p95 is off: above 1, the simulator has more."""
    expected = expected_ms(simulated, twin)
    return {name: expected[name] / value for name, value in p95_ms(twin).items() if name != "alone"}


def ordered(simulated: JsonObject, twin: JsonObject) -> tuple[int, int]:
    """Return how many pairs of arms are clearly apart on the twin, and on how many both agree."""
    expected, found = expected_ms(simulated, twin), p95_ms(twin)
    pairs = [
        (first, second) if found[first] < found[second] else (second, first)
        for first, second in itertools.combinations(found, 2)
        if max(found[first], found[second]) > CLEAR * min(found[first], found[second])
    ]
    return len(pairs), sum(expected[better] < expected[worse] for better, worse in pairs)
