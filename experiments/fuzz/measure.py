"""One seed's figures: every arm on one mix, with what they were computed from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from experiments.fuzz.arms import ALONE, ARMS, policy_of
from experiments.fuzz.mix import LOW_STARTS_S, MEASURED_FROM_S, MEASURED_S, draw
from experiments.fuzz.simulated import Simulated
from experiments.records.jsonfields import JsonObject

SCHEMA: Final = "drcio.fuzz/1"
_STEP: Final = 1.05
"""Width of the stored histogram's bins, as a ratio."""


def simulate(seed: int, arms: Sequence[str] = ARMS, measured_s: float = MEASURED_S) -> JsonObject:
    """Return every arm's figures on a seed's mix, on the simulated node."""
    mix = draw(seed)
    return {
        "schema": SCHEMA,
        "where": "simulated",
        "seed": seed,
        "measured_s": measured_s,
        "mix": mix.to_json(),
        "arms": {arm: _arm(seed, arm, measured_s) for arm in arms},
    }


def _arm(seed: int, arm: str, measured_s: float) -> JsonObject:
    policy, engine = policy_of(arm)
    simulated = Simulated(draw(seed), policy, engine, low=arm != ALONE)
    try:
        simulated.run(MEASURED_FROM_S)
        before = simulated.counted("low")
        simulated.run(MEASURED_FROM_S + measured_s)
        ios, size = (after - earlier for after, earlier in zip(simulated.counted("low"), before, strict=True))
        at_s, took_ms = simulated.timed_ms(0.0)
        device = simulated.node.device()
        return {
            **percentiles(took_ms[at_s >= MEASURED_FROM_S], measured_s),
            "low_ios_per_s": ios / measured_s,
            "low_bytes_per_s": size / measured_s,
            "p95_each_s": per_second(at_s, took_ms, measured_s),
            "histogram": histogram(took_ms[at_s >= MEASURED_FROM_S]),
            "states": dict(Counter(decision.state for _, decision in simulated.decisions)),
            "freezes": device.freezes,
            "frozen_s": round(device.frozen_s, 4),
        }
    finally:
        simulated.close()


def percentiles(took_ms: npt.NDArray[np.float64], measured_s: float) -> JsonObject:
    """Return what is judged of a set of latencies; none at all is as bad as the whole run."""
    if not len(took_ms):
        took_ms = np.array([1000 * measured_s])
        count = 0
    else:
        count = len(took_ms)
    p50, p95, p99 = (float(value) for value in np.percentile(took_ms, (50, 95, 99)))
    return {"ios": count, "p50_ms": round(p50, 4), "p95_ms": round(p95, 4), "p99_ms": round(p99, 4)}


def per_second(
    at_s: npt.NDArray[np.float64], took_ms: npt.NDArray[np.float64], measured_s: float
) -> list[float | None]:
    """Return the p95 of the I/Os that began in each second since low priority began."""
    result: list[float | None] = []
    for second in range(round(MEASURED_FROM_S + measured_s - LOW_STARTS_S)):
        begins_s = LOW_STARTS_S + second
        inside = took_ms[(at_s >= begins_s) & (at_s < begins_s + 1)]
        result.append(round(float(np.percentile(inside, 95)), 3) if len(inside) else None)
    return result


def histogram(took_ms: npt.NDArray[np.float64]) -> list[list[float]]:
    """Return pairs of a bin's upper bound in milliseconds and how many are in it."""
    if not len(took_ms):
        return []
    bins = np.ceil(np.log(np.maximum(took_ms, 1e-3)) / np.log(_STEP)).astype(int)
    values, counts = np.unique(bins, return_counts=True)
    return [[round(float(_STEP**value), 4), int(count)] for value, count in zip(values, counts, strict=True)]
