"""The package's errors.

LpBatchError
├── UsageError          an option's value is refused (exit 2)
├── EnvironmentFault    the machine cannot do what was asked: no space, no fio, port taken (exit 1)
├── IoFailure           the kernel refused or cut short a read or write (exit 1)
└── CorruptionError     data read back is not what was written (exit 3)
"""


class LpBatchError(Exception):
    """An error that a user can act on: one line, and a remedy on its own line."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(LpBatchError):
    """An option has a value that cannot be used."""

    exit_code = 2


class EnvironmentFault(LpBatchError):
    """The machine lacks something that the job needs."""


class IoFailure(LpBatchError):
    """A read or write failed or came back short."""


class CorruptionError(LpBatchError):
    """A block read back differs from what was written."""

    exit_code = 3
