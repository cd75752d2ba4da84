"""What can go wrong with a node twin.

TwinError
├── MissingTool      a program or package that the twin needs is not on this machine
├── KernelError      no guest kernel could be had
├── VolumeError      the volume's image could not be made
├── BootError        the guest did not come up; carries the console's tail
└── GuestDied        the guest panicked, hung or was killed while in use; carries the console's tail
"""

from __future__ import annotations


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
