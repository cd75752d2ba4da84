"""When requests leave, and for which ids: pure functions of the seed."""

import random
from enum import StrEnum


class Arrivals(StrEnum):
    POISSON = "poisson"
    """Independent users: exponential gaps, so bursts and lulls as real traffic has them."""
    CONSTANT = "constant"
    """Equal gaps."""


def schedule(rate_rps: float, duration_s: float, seed: int, arrivals: Arrivals) -> tuple[int, ...]:
    """Return ascending offsets in microseconds from the start, all of them before the duration's end.

    A Poisson schedule's number of requests varies with the seed, by the square root of its mean.
    """
    end_us = duration_s * 1e6
    if arrivals is Arrivals.CONSTANT:
        gap_us = 1e6 / rate_rps
        offsets: list[int] = []
        while (at_us := len(offsets) * gap_us) < end_us:
            offsets.append(int(at_us))
        return tuple(offsets)
    rng = random.Random(seed)  # noqa: S311 - traffic, not secrets
    rate_per_us = rate_rps / 1e6
    offsets = []
    at_us = rng.expovariate(rate_per_us)
    while at_us < end_us:
        offsets.append(int(at_us))
        at_us += rng.expovariate(rate_per_us)
    return tuple(offsets)


def request_ids(count: int, seed: int, ids_max: int) -> tuple[int, ...]:
    """Return the id that each request asks for, from 0 to below `ids_max`."""
    # A stream of its own: the ids stay the same when the kind of arrivals changes.
    rng = random.Random(f"ids/{seed}")  # noqa: S311 - traffic, not secrets
    return tuple(rng.randrange(ids_max) for _ in range(count))
