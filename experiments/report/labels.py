"""What scenarios are called where people read of them."""

from __future__ import annotations

from typing import Final

from experiments.records.spec import BASELINE, CONTENTION, DRCIO

_LABELS: Final = {BASELINE: "alone", CONTENTION: "no control", DRCIO: "DRC-IO"}


def label_of(scenario: str) -> str:
    """Name a scenario for a picture."""
    return _LABELS.get(scenario, scenario)
