"""The package's errors.

LoadGeneratorError
├── UsageError     an option's value is refused (exit 2)
├── NotReady       the service did not become ready in time (exit 1)
└── RecordError    a record's file is missing, malformed or does not fit the others (exit 1)
"""


class LoadGeneratorError(Exception):
    """An error that a user can act on: one line, and a remedy on its own line."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(LoadGeneratorError):
    """An option has a value that cannot be used."""

    exit_code = 2


class NotReady(LoadGeneratorError):
    """The service did not answer its readiness probe."""


class RecordError(LoadGeneratorError):
    """A load record cannot be used."""
