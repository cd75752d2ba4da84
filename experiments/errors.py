"""The errors that the experiment shows to its user.

ExperimentError          one line that says what, where, found, expected; the remedy in `hint`
├── SpecError            what was asked cannot be run
├── RecordError          a stored file is missing, damaged or of another schema
└── ExportError          metrics cannot be read or written
"""

from __future__ import annotations


class ExperimentError(Exception):
    """Carry one message for the user and the remedy beside it."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class SpecError(ExperimentError):
    """Refuse a specification that cannot be run."""


class RecordError(ExperimentError):
    """Refuse a stored file that does not hold what its schema promises."""


class ExportError(ExperimentError):
    """Report that metrics could not be fetched or written."""
