"""Where an experiment runs: a target makes planned runs into records."""

from __future__ import annotations

from typing import Protocol

from experiments.records.record import RunRecord
from experiments.records.spec import PlannedRun


class Progress(Protocol):
    """Shows what is happening now to whoever waits."""

    def doing(self, what: str) -> None:
        """Show what is happening now."""

    def within_run(self, elapsed_s: float, total_s: float) -> None:
        """Show how far the run under way is."""


class Target(Protocol):
    """A node that can be measured."""

    def run(self, planned: PlannedRun, progress: Progress) -> RunRecord:
        """Make one run and return its raw record."""
