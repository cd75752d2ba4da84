"""How long to wait after a failure."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Exponential waits with jitter and a cap.

    Jitter matters at the other end: after an API server's restart every node's agent comes back,
    and without it all of them come back in the same second.
    """

    initial_s: float = 0.5
    factor: float = 2.0
    cap_s: float = 30.0
    jitter_ratio: float = 0.5
    """A wait is lengthened by a random part of itself, up to this."""

    def delay_s(self, failures: int, uniform: float, retry_after_s: float | None = None) -> float:
        """Return the wait after `failures` failures in a row (1 or more).

        `uniform` is a random number in [0, 1). What the server asked for is never undercut.
        """
        # The exponent is bounded: a day of failures must not overflow a float.
        exponent = min(max(failures - 1, 0), 32)
        wait_s = min(self.initial_s * self.factor**exponent, self.cap_s)
        return max(wait_s, retry_after_s or 0.0) * (1 + self.jitter_ratio * uniform)
