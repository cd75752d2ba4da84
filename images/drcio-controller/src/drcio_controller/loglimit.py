"""Let a stranger's doings fill no log: so many lines, then one every so often."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_REMEMBERED: Final = 1024


class LogLimit:
    """A token bucket for each key, and one for all of them together. May be used by several threads."""

    def __init__(
        self,
        *,
        burst: int = 5,
        refill_s: float = 600.0,
        overall: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let `burst` lines of a key through at once and one every `refill_s` seconds after; of all keys
        together `overall` times as many."""
        self._burst, self._refill_s, self._overall = float(burst), refill_s, overall
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._all = (self._burst * overall, clock())
        self.withheld = 0

    def admits(self, key: str) -> bool:
        """Return whether a line about `key` may be written now; count it if not."""
        with self._lock:
            return self._admits(key)

    def _admits(self, key: str) -> bool:
        now_s = self._clock()
        tokens, at_s = self._buckets.pop(key, (self._burst, now_s))
        tokens = min(self._burst, tokens + (now_s - at_s) / self._refill_s)
        total = min(
            self._burst * self._overall,
            self._all[0] + (now_s - self._all[1]) / self._refill_s * self._overall,
        )
        admitted = tokens >= 1 and total >= 1
        self._buckets[key] = (tokens - admitted, now_s)
        self._all = (total - admitted, now_s)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        self.withheld += not admitted
        return admitted
