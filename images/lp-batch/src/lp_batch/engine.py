"""What the job asks of an I/O engine."""

from typing import Protocol

Completion = tuple[int, int]
"""Slot, and bytes moved or a negated errno."""


class Engine(Protocol):
    """Moves fixed-size blocks between numbered buffers and one file.

    A slot is one place in the queue: it has a read buffer and a write buffer in the arena and carries
    at most one operation at a time.
    """

    @property
    def name(self) -> str: ...

    def queue(self, slot: int, write: bool, offset_bytes: int) -> None:
        """Add an operation to the next batch."""

    def submit(self) -> None:
        """Hand the batch to the kernel; what does not fit is kept for the next call."""

    def reap(self, timeout_s: float) -> list[Completion]:
        """Wait for at least one completion, or nothing when the time-out passes or a signal came."""

    def close(self) -> None: ...
