"""Which block is read or written next: pure sequences, the same for the same seed."""

import random
from collections.abc import Iterator
from enum import StrEnum

Access = tuple[bool, int]
"""Write or not, and the block's number."""


class Pattern(StrEnum):
    MIXED = "mixed"
    """Half random reads, half random writes, drawn per operation."""
    SEQUENTIAL_READ = "sequential-read"
    SEQUENTIAL_WRITE = "sequential-write"
    RANDOM_READ = "random-read"
    RANDOM_WRITE = "random-write"
    BUFFERED_WRITE_FSYNC = "buffered-write-fsync"
    """Sequential writes through the page cache, an fsync every so often: a log or a checkpoint."""

    @property
    def writes(self) -> bool:
        return self not in (Pattern.SEQUENTIAL_READ, Pattern.RANDOM_READ)

    @property
    def only_writes(self) -> bool:
        return self.writes and self is not Pattern.MIXED

    @property
    def direct(self) -> bool:
        return self is not Pattern.BUFFERED_WRITE_FSYNC


def accesses(pattern: Pattern, blocks: int, seed: int) -> Iterator[Access]:
    """Yield accesses to a file of `blocks` blocks without end; sequences wrap around."""
    rng = random.Random(seed)  # noqa: S311 - an access pattern, not secrets
    match pattern:
        case Pattern.SEQUENTIAL_READ | Pattern.SEQUENTIAL_WRITE | Pattern.BUFFERED_WRITE_FSYNC:
            return _sequential(pattern.writes, blocks)
        case Pattern.RANDOM_READ | Pattern.RANDOM_WRITE:
            return _uniform(pattern.writes, blocks, rng)
        case Pattern.MIXED:
            return _mixed(blocks, rng)


def _sequential(write: bool, blocks: int) -> Iterator[Access]:
    while True:
        for block in range(blocks):
            yield write, block


def _uniform(write: bool, blocks: int, rng: random.Random) -> Iterator[Access]:
    # int(random() * n) and not randrange: a fifth of its CPU, and its bias is below 2**-53.
    draw = rng.random
    while True:
        yield write, int(draw() * blocks)


def _mixed(blocks: int, rng: random.Random) -> Iterator[Access]:
    draw = rng.random
    while True:
        yield draw() < 0.5, int(draw() * blocks)
