"""How many operations may start now, so that a job keeps to a rate."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pacer:
    """A rate in bytes a second as a budget of whole operations since the start.

    A job that the volume slowed down does not catch up afterwards by more than `burst_ops`.
    """

    rate_bytes_s: float
    block_bytes: int
    burst_ops: int

    def budget(self, elapsed_s: float, issued: int, forgiven: int) -> tuple[int, int]:
        """Return operations that may start now, and operations forgiven so far because they came too late."""
        due = int(self.rate_bytes_s * elapsed_s / self.block_bytes) + 1 - forgiven
        backlog = due - issued
        if backlog > self.burst_ops:
            forgiven += backlog - self.burst_ops
            backlog = self.burst_ops
        return max(backlog, 0), forgiven

    def wait_s(self, elapsed_s: float, issued: int, forgiven: int) -> float:
        """Return the time until the next operation is due."""
        due_s = (issued + forgiven) * self.block_bytes / self.rate_bytes_s
        return max(due_s - elapsed_s, 0.0)
