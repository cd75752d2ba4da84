"""What a verdict can be, and the reasons that are given for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["pass", "fail", "inconclusive", "invalid"]
Badness = Literal["fail", "inconclusive", "invalid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that kept a study from passing, or, in a pass, that made it."""

    outcome: Outcome
    code: str
    statement: str
    runs: tuple[str, ...] = ()
    """The runs that it was found in; empty for what is true of the whole experiment."""
    remedy: str = ""
    """What to do about it; empty where the statement says it."""
    more_repeats_may_settle: bool = False
    """Whether it may be gone once there are more repeats, for it comes and goes with the machine."""

    @property
    def text(self) -> str:
        """Return it, with the runs named; the figures in it are the first run's."""
        if not self.runs:
            return self.statement
        first, *others = self.runs
        same = f" (the same in {', '.join(others)})" if others else ""
        return f"{first}: {self.statement}{same}"
