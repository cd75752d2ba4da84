"""Hold the seeds' figures against what is wanted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from experiments.fuzz.arms import ALONE, FIXED, LAW, NONE
from experiments.fuzz.mix import MIB, UNIT_BYTES
from experiments.records.jsonfields import JsonObject

P95_USUAL: Final = 1.5
P95_WORST: Final = 2.5
P99_USUAL: Final = 3.0
USUAL: Final = 0.9
"""Of the seeds."""
SHARE_MEDIAN: Final = 0.75
REGRET_MOST: Final = 0.1

_LEAST: Final = "iomax-10"
FULL_RATIO: Final = 0.9
"""Of a volume's bytes or operations: from there on it is full."""
NOISE_RATIO: Final = 1.05
NOISE_MS: Final = 0.05
NOISE_SHARE: Final = 0.02
"""Two runs of the same are so far from each other: less is neither worse nor better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One arm on one seed, in terms of the seed's own arms."""

    seed: int
    arm: str
    p50_ratio: float
    p95_ratio: float
    p99_ratio: float
    p95_ms: float
    share: float
    """Of what low priority has uncontrolled: in bytes or in operations, the larger. An operation is what the
    volume counts: of a MiB at once, four."""
    settled_s: float | None
    """From low priority's start to the first of two seconds within 1.5 times alone; None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that is wanted, and what was found."""

    name: str
    found: float
    wanted: str
    met: bool
    seeds: tuple[int, ...] = ()
    """Those that miss it, where it is counted in seeds."""


def figures_of(record: JsonObject) -> dict[str, Figures]:
    """Return every arm's figures."""
    arms = cast(Mapping[str, JsonObject], record["arms"])
    alone, none = arms[ALONE], arms[NONE]
    return {name: _figures(cast(int, record["seed"]), name, arm, alone, none) for name, arm in arms.items()}


def _figures(seed: int, name: str, arm: JsonObject, alone: JsonObject, none: JsonObject) -> Figures:
    def ratio(key: str) -> float:
        return _number(arm, key) / _number(alone, key)

    shares = [
        _number(arm, key) / _number(none, key)
        for key in ("low_ios_per_s", "low_bytes_per_s")
        if _number(none, key) > 0
    ]
    return Figures(
        seed=seed,
        arm=name,
        p50_ratio=ratio("p50_ms"),
        p95_ratio=ratio("p95_ms"),
        p99_ratio=ratio("p99_ms"),
        p95_ms=_number(arm, "p95_ms"),
        share=max(shares, default=1.0),
        settled_s=_settled_s(
            cast(Sequence[float | None], arm["p95_each_s"]), P95_USUAL * _number(alone, "p95_ms")
        ),
    )


def _settled_s(each: Sequence[float | None], limit_ms: float) -> float | None:
    within = [value is None or value <= limit_ms for value in each]
    for second in range(len(within) - 1):
        if within[second] and within[second + 1]:
            return float(second)
    return None


def worse_than_none(arms: Mapping[str, Figures]) -> bool:
    """Return whether high priority is worse off under the law than without any."""
    return arms[LAW].p95_ms > arms[NONE].p95_ms * NOISE_RATIO + NOISE_MS


def regretted(arms: Mapping[str, Figures]) -> str | None:
    """Return a fixed knob that beats the law in both, or None."""
    law = arms[LAW]
    for name in FIXED:
        knob = arms.get(name)
        if (
            knob is not None
            and knob.p95_ms * NOISE_RATIO + NOISE_MS < law.p95_ms
            and knob.share > law.share + NOISE_SHARE
        ):
            return name
    return None


def cpu_short(arms: Mapping[str, Figures], where: str) -> bool:
    """Return whether a twin's CPU was short and not its volume: low priority at a tenth hurts as well.

    A simulated node has no CPU to be short of; there a tenth that hurts is the volume's affair.
    """
    knob = arms.get(_LEAST)
    return where == "twin" and knob is not None and knob.p95_ratio > P95_USUAL


def volume_used_ratio(record: JsonObject) -> float:
    """Return how much of the volume was used uncontrolled: of its bytes or its operations, the larger.

    Well below 1 nothing was short but what the programs asked for, or the CPU that they ran on.
    """
    mix = cast(JsonObject, record["mix"])
    none = cast(Mapping[str, JsonObject], record["arms"])[NONE]
    high_ios_per_s = _number(none, "ios") / _number(record, "measured_s")
    block = _number(cast(JsonObject, mix["high"]), "block_bytes")
    ios = high_ios_per_s * math.ceil(block / UNIT_BYTES) + _number(none, "low_ios_per_s")
    size = high_ios_per_s * block + _number(none, "low_bytes_per_s")
    return max(ios / _number(mix, "iops"), size / (_number(mix, "mib_s") * MIB))


def frontier(arms: Mapping[str, Figures]) -> Figures | None:
    """Return the fixed knob that keeps high priority best: what stands in the way of a bound."""
    knobs = [arms[name] for name in FIXED if name in arms]
    return min(knobs, key=lambda knob: (knob.p95_ratio, -knob.share), default=None)


def judge(seeds: Sequence[Mapping[str, Figures]]) -> list[Check]:
    """Return what is wanted of the law over all seeds, and whether it is so."""
    law = [arms[LAW] for arms in seeds]
    share = statistics.median(figures.share for figures in law)
    over_usual = _seeds(law, lambda one: one.p95_ratio > P95_USUAL)
    over_worst = _seeds(law, lambda one: one.p95_ratio > P95_WORST)
    over_p99 = _seeds(law, lambda one: one.p99_ratio > P99_USUAL)
    worse = tuple(arms[LAW].seed for arms in seeds if worse_than_none(arms))
    regrets = tuple(arms[LAW].seed for arms in seeds if regretted(arms))
    count = len(seeds)
    return [
        _within("p95 within 1.5 times alone", over_usual, count, USUAL),
        _within("p95 within 2.5 times alone", over_worst, count, 1.0),
        _within("p99 within 3 times alone", over_p99, count, USUAL),
        Check(
            name="low priority's share, median",
            found=share,
            wanted=f"at least {SHARE_MEDIAN:g}",
            met=share >= SHARE_MEDIAN,
        ),
        _within("p95 no worse than uncontrolled", worse, count, 1.0),
        Check(
            name="a fixed knob is better in both",
            found=len(regrets) / count,
            wanted=f"at most {REGRET_MOST:.0%} of the seeds",
            met=len(regrets) <= REGRET_MOST * count,
            seeds=regrets,
        ),
    ]


def _within(name: str, missed: tuple[int, ...], count: int, wanted: float) -> Check:
    found = 1 - len(missed) / count
    text = "every seed" if wanted == 1 else f"{wanted:.0%} of the seeds"
    return Check(name=name, found=found, wanted=text, met=found >= wanted, seeds=missed)


def _seeds(figures: Sequence[Figures], missed: Callable[[Figures], bool]) -> tuple[int, ...]:
    return tuple(one.seed for one in figures if missed(one))


def _number(values: JsonObject, key: str) -> float:
    return float(cast(float, values[key]))
