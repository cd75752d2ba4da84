"""What can go wrong with a node twin.

TwinError
├── MissingTool      a program or package that the twin needs is not on this machine
├── KernelError      no guest kernel could be had
├── VolumeError      the volume's image could not be made
├── OutputError      a file of the results could not be written
├── BootError        the guest did not come up; carries the console's tail
└── GuestDied        the guest panicked, hung or was killed while in use; carries the console's tail
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}
"""Of these the system does not say which file it was that had no room."""


class TwinError(Exception):
    """Report what is wrong in one line; `hint` is the remedy, on a line of its own."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class MissingTool(TwinError):
    """A program that the twin starts is not on PATH."""


class KernelError(TwinError):
    """The guest's kernel could not be fetched, unpacked or read."""


class VolumeError(TwinError):
    """The volume's image could not be made or filled."""


class OutputError(TwinError):
    """The folder for the results cannot be made, or takes no more."""


def output_error(error: OSError, output: Path) -> OutputError | None:
    """Return what an error says of the folder for the results; None where it is of something else."""
    # Of a rename the second is the file that was to be written.
    named = error.filename2 or error.filename
    if error.errno in _NO_ROOM:
        where = named or output
        return OutputError(
            f"{where}: cannot be written: {error.strerror}",
            hint=f"make room for {output}, and for the temporary folder and .cache",
        )
    if named is None:
        return None
    # A folder above it is in the way, or cannot be written to, as well as a file below it.
    file, folder = Path(named).absolute(), output.absolute()
    if not (file.is_relative_to(folder) or folder.is_relative_to(file)):
        return None
    return OutputError(
        f"{named}: cannot be written: {error.strerror}",
        hint=f"expected {output} to be a folder for results that you may write to, or that can be made",
    )


@contextlib.contextmanager
def naming_output(output: Path | None) -> Iterator[None]:
    """Raise `OutputError` for a system's error that is of the folder for the results, where there is one."""
    try:
        yield
    except OSError as error:
        if output is None or (of_output := output_error(error, output)) is None:
            raise
        raise of_output from error


class _GuestError(TwinError):
    def __init__(self, message: str, *, console_tail: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.console_tail = console_tail

    def __str__(self) -> str:
        tail = f"\n--- the guest's console ends with ---\n{self.console_tail}" if self.console_tail else ""
        return super().__str__() + tail


class BootError(_GuestError):
    """The guest did not answer within its boot time."""


class GuestDied(_GuestError):
    """The guest stopped while it was in use."""
