"""The named load levels."""

from load_generator.errors import UsageError

LEVELS_RPS = {"low": 20.0, "medium": 50.0, "high": 100.0}
"""Requests a second on native CPUs, where one core scores several hundred."""

EMULATED_SCALE = 0.1
"""A fitting `--level-scale` for a target without KVM: its CPU is about twenty times slower, and at
these rates it would be CPU that queues, not I/O."""


def level_rps(level: str, scale: float) -> float:
    """Return the rate of a level, scaled."""
    if level not in LEVELS_RPS:
        raise UsageError(f"level is {level!r}; expected one of {', '.join(LEVELS_RPS)}")
    if not 0 < scale < float("inf"):
        raise UsageError(f"level scale is {scale}; expected a number above 0")
    return LEVELS_RPS[level] * scale
