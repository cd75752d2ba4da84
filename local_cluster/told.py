"""The experiment's progress, as this program shows it: a line for each thing that begins."""

from __future__ import annotations

from collections.abc import Callable


class Told:
    """Passes on what is being done; how far a run is, its deployment says by itself."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.doing = tell

    def within_run(self, elapsed_s: float, total_s: float) -> None:
        """Say nothing: the engine's lines do."""
