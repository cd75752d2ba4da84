"""The simulated node is held to recorded results of the twin, seed by seed.

`recorded/` holds seeds as `fuzz --seeds N` stored them (Linux 6.12, virtual time). Of the arms those are
compared that do not depend on the law: `drcio` was recorded under the law of that day.
tests/twin/own_guest/test_fuzz.py compares it too, with one law on both.

To record anew: `python -m experiments fuzz --seeds N`, and copy `seeds/N.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from experiments.fuzz.arms import ALONE, LAW, NONE
from experiments.fuzz.judge import figures_of, volume_used_ratio
from experiments.fuzz.measure import simulate
from experiments.records.jsonfields import JsonObject
from tests.experiments.fuzz.agreement import factors, ordered

RECORDED: Final = sorted((Path(__file__).parent / "recorded").glob("*.json"))
NONE_FACTOR: Final = 1.3
"""By how much p95 may be off uncontrolled, where it is a queue over a rate."""
FACTOR: Final = 1.6
"""And under a fixed knob, or alone, where it is a tail of bursts. The twin's CPU is in it: 37 reads at once
take it 2 ms to submit."""
SHARE_APART: Final = {"iomax": 0.03, "iocost": 0.08}


def pair(path: Path) -> tuple[JsonObject, JsonObject]:
    """Return the simulated and the recorded result of a seed, of the same arms and length."""
    twin = json.loads(path.read_text())
    twin["arms"] = {name: arm for name, arm in twin["arms"].items() if name != LAW}
    # As it would have been stored, so that both are plain JSON.
    return json.loads(json.dumps(simulate(twin["seed"], tuple(twin["arms"]), twin["measured_s"]))), twin


def test_there_are_recorded_seeds_of_several_kinds() -> None:
    mixes = [json.loads(path.read_text())["mix"] for path in RECORDED]
    assert len({mix["high"]["kind"] for mix in mixes}) >= 3


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_p95_of_each_arm_is_within_a_factor(path: Path) -> None:
    off = {arm: max(factor, 1 / factor) for arm, factor in factors(*pair(path)).items()}
    assert off.pop(NONE) <= NONE_FACTOR
    assert max(off.values()) <= FACTOR, off


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_arms_rank_alike(path: Path) -> None:
    apart, agreed = ordered(*pair(path))
    assert apart >= 3
    assert agreed >= 0.85 * apart, (agreed, apart)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_low_priority_gets_the_same_share(path: Path) -> None:
    simulated, twin = map(figures_of, pair(path))
    for arm in set(twin) - {ALONE, NONE}:
        assert simulated[arm].share == pytest.approx(
            twin[arm].share, abs=SHARE_APART[arm.partition("-")[0]]
        ), arm


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_volume_is_as_full_uncontrolled(path: Path) -> None:
    simulated, twin = (volume_used_ratio(record) for record in pair(path))
    assert simulated == pytest.approx(twin, abs=0.03)
