"""What one run of load shall be."""

import math
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from load_generator.errors import UsageError
from load_generator.schedule import Arrivals

MAX_TIMEOUT_S = 600.0
MAX_REQUESTS = 5_000_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run of load, checked. The same plan sends the same requests at the same offsets."""

    url: str
    rate_rps: float
    duration_s: float
    warmup_s: float = 0.0
    """Load of the same rate before the measured window; its results are only counted."""
    seed: int = 1
    arrivals: Arrivals = Arrivals.POISSON
    ids_max: int = 1000
    timeout_s: float = 30.0
    """From the sending of one request to the end of its answer."""
    ready_timeout_s: float = 60.0
    lag_limit_ms: float = 50.0
    """A run whose 99th percentile of lateness exceeds this fell behind its schedule and is invalid."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"url is {self.url!r}; expected http://HOST[:PORT]/PATH",
                hint="for the service of this repository: http://HOST:8080/score",
            )
        for name, value in (
            ("rate", self.rate_rps),
            ("duration", self.duration_s),
            ("timeout", self.timeout_s),
            ("lag limit", self.lag_limit_ms),
        ):
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is {value}; expected a number above 0")
        for name, value in (("warmup", self.warmup_s), ("ready timeout", self.ready_timeout_s)):
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} is {value}; expected 0 or more")
        if self.timeout_s > MAX_TIMEOUT_S:
            raise UsageError(f"timeout is {self.timeout_s} s; expected at most {MAX_TIMEOUT_S:.0f} s")
        if self.ids_max < 1:
            raise UsageError(f"ids max is {self.ids_max}; expected at least 1")
        if self.rate_rps * (self.duration_s + self.warmup_s) > MAX_REQUESTS:
            raise UsageError(
                f"rate times duration is over {MAX_REQUESTS} requests",
                hint="lower the rate or the duration, or run several generators and merge their records",
            )

    @property
    def ready_url(self) -> str:
        """Return the service's readiness probe: /readyz at the same origin."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc, "/readyz", "", ""))
