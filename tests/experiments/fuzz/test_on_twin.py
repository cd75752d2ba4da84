"""An arm's figures are computed from what was recorded of it."""

from __future__ import annotations

from typing import cast

import pytest

from experiments.fuzz.mix import MEASURED_FROM_S
from experiments.fuzz.on_twin import figures_of_raw
from experiments.records.jsonfields import JsonObject

_BEGAN_S = 100.0


def sample(t_s: float, ios: int, *, state: str | None = None, pod: str = "low0") -> JsonObject:
    device = {"rios": ios, "wios": ios, "rbytes": 4096 * ios, "wbytes": 0}
    return {
        "t_s": t_s,
        "pods": {
            pod: {"io": {"259:1": device, "7:0": {"rios": 1 << 30}}, "cpu_pressure": {"some_us": 0}},
            "high": {"io": {}, "cpu_pressure": {"some_us": round((t_s - _BEGAN_S) * 1e5)}},
        },
        "controller": None if state is None else {"devices": [{"state": state}]},
    }


def raw(samples: list[JsonObject], took_ms: float = 2.0) -> JsonObject:
    count = 200
    return {
        "measured_s": 10.0,
        "device": "259:1",
        "lows": ["low0"],
        "at_s": [_BEGAN_S + index / 10 for index in range(count)],
        # Before and after the window each takes a second.
        "took_ms": [took_ms if 40 <= index < 140 else 1000.0 for index in range(count)],
        "samples": samples,
    }


def test_only_the_measured_window_counts() -> None:
    each_second = [sample(_BEGAN_S + 0.5 + second, 1000 * second) for second in range(20)]
    figures = figures_of_raw(raw(each_second))

    assert (figures["ios"], figures["p95_ms"]) == (100, 2.0)
    assert figures["low_ios_per_s"] == pytest.approx(2000)
    assert figures["low_bytes_per_s"] == pytest.approx(4096 * 1000)
    assert figures["cpu_wait_ratio"] == pytest.approx(0.1)
    assert cast("list[float]", figures["p95_each_s"])[:3] == [1000.0, 1000.0, 2.0]


def test_low_priority_that_came_late_is_counted_from_when_it_was_there() -> None:
    samples = [
        sample(_BEGAN_S + second, 100 * second, pod="low0" if second > 8 else "none") for second in range(20)
    ]
    assert figures_of_raw(raw(samples))["low_ios_per_s"] == pytest.approx(2 * 100 * 5 / 10)


def test_agents_states_are_counted_in_the_window() -> None:
    states = ["open", "open", *(["hold"] * 20)]
    samples = [
        sample(_BEGAN_S + MEASURED_FROM_S - 1.5 + second, second, state=state)
        for second, state in enumerate(states)
    ]
    assert figures_of_raw(raw(samples))["states"] == {"hold": 10}
