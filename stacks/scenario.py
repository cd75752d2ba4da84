"""What each scenario consists of."""

from __future__ import annotations

from dataclasses import dataclass

from stacks.settings import BASELINE, DRCIO, Settings


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Which parts a stack has beyond the service, which it always has."""

    batch_job: bool
    controller: bool
    experiment: bool


def parts_of(settings: Settings) -> Parts:
    """Return the parts of a stack; changing the scenario changes these and nothing else."""
    return Parts(
        batch_job=settings.scenario != BASELINE,
        controller=settings.scenario == DRCIO and settings.controller.enabled,
        experiment=settings.experiment.enabled,
    )
