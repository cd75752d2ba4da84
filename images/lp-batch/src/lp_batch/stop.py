"""A request to stop, as the signal handlers leave it for the loops to find."""

from dataclasses import dataclass


@dataclass
class StopRequest:
    """Empty until somebody asks; the first reason stays."""

    reason: str | None = None

    def ask(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason
