"""A short fuzz of the law on the simulated node: what is wanted of thousands of seeds, on forty."""

from __future__ import annotations

from pathlib import Path

from experiments.fuzz.arms import ARMS
from experiments.fuzz.drive import Asked, run_seeds, simulated, summarise

SEEDS = tuple(range(201, 241))
MISSED_MOST = 3
"""Seeds beyond what is wanted of every one. Of two thousand 53 were, each with a fixed knob that keeps it
(ADR 4, "The frontier")."""
BY_CHANCE = 2
"""Seeds of forty by which a part of nine tenths of thousands may be missed: one standard deviation."""


def test_law_keeps_its_bounds_on_forty_mixes(tmp_path: Path) -> None:
    asked = Asked(seeds=SEEDS, arms=ARMS, output=tmp_path, where="simulated", measured_s=12.0)
    records = run_seeds(
        asked, lambda todo: simulated(todo, measured_s=asked.measured_s, jobs=1), on_seed=lambda _: None
    )
    checks = {check.name: check for check in summarise(records, tmp_path).checks}

    everywhere = ("p95 within 2.5 times alone", "p95 no worse than uncontrolled")
    for name in everywhere:
        missed = checks.pop(name).seeds
        assert len(missed) <= MISSED_MOST, (name, missed)
    for name in ("p95 within 1.5 times alone", "p99 within 3 times alone"):
        missed = checks.pop(name).seeds
        assert len(missed) <= len(SEEDS) // 10 + BY_CHANCE, (name, missed)
    assert all(check.met for check in checks.values()), checks
