"""What each scenario consists of."""

from __future__ import annotations

from dataclasses import dataclass

from stacks.configuration.settings import BASELINE, DRCIO, Settings


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Which parts a stack has."""

    service: bool
    batch_job: bool
    controller: bool
    experiment: bool


def parts_of(settings: Settings) -> Parts:
    """Return the parts of a stack; changing the scenario changes these and nothing else."""
    return Parts(
        service=settings.workloads.enabled,
        batch_job=settings.workloads.enabled and settings.scenario != BASELINE,
        controller=settings.scenario == DRCIO and settings.controller.enabled,
        experiment=settings.experiment.enabled,
    )
