"""What is still to be run of a seed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Todo:
    """A seed and those of its arms that nothing is stored of."""

    seed: int
    arms: tuple[str, ...]
