"""The named load levels."""

from load_generator.errors import UsageError

LEVELS_RPS = {"low": 20.0, "medium": 50.0, "high": 100.0}
"""Requests a second."""


def level_rps(level: str) -> float:
    """Return the rate of a level."""
    if level not in LEVELS_RPS:
        raise UsageError(f"level is {level!r}; expected one of {', '.join(LEVELS_RPS)}")
    return LEVELS_RPS[level]
