"""Whether a device gets rid of its requests: a write that freezes its queue waits until it has.

Since Linux 6.2 a write to `io.cost.*` freezes the request queue, as switching the scheduler and the first
limit always did (blk_mq_freeze_queue). The writer then sleeps in the kernel, uninterruptibly, until every
request in the device has ended; on a volume that has stopped that is never, and no signal ends it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from drcio_controller.errors import Busy, KernelFileError
from drcio_controller.kernel.files import read_text
from drcio_controller.kernel.knob import Roots
from drcio_controller.kernel.parse import BlockStat, DeviceId, parse_block_stat

FREEZING_FILES: Final = frozenset({"io.cost.qos", "io.cost.model", "io.max", "scheduler"})

WITHIN_S: Final = 0.1
"""A device with requests that ends none in so long is taken for one that has stopped. A volume of 100 IOPS
ends ten."""
_LOOK_EVERY_S: Final = 0.005


class Drain:
    """One device's requests, looked at before each write that would wait for them."""

    def __init__(
        self,
        roots: Roots,
        device: DeviceId,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = f"{roots.sys}/dev/block/{device}/stat"
        self._device = device
        self._clock, self._sleep = clock, sleep
        self._stopped: BlockStat | None = None
        self.stopped_at_s: float | None = None
        """Since when it was seen to end nothing; None for one that does."""

    def require(self) -> None:
        """Return once a request has ended, or there is none.

        Raises:
            Busy: none ended, within `WITHIN_S` or since the look before.
        """
        seen = self._look()
        before, patience_s = (seen, WITHIN_S) if self._stopped is None else (self._stopped, 0.0)
        deadline_s = self._clock() + patience_s
        while seen is not None and before is not None and not _moved(before, seen):
            if self._clock() >= deadline_s:
                self._stopped = seen
                if self.stopped_at_s is None:
                    self.stopped_at_s = self._clock()
                raise Busy(
                    f"{self._device} does not end its {seen.in_flight} requests: what would wait for them"
                    " is not written"
                )
            self._sleep(_LOOK_EVERY_S)
            seen = self._look()
        self._stopped, self.stopped_at_s = None, None

    def _look(self) -> BlockStat | None:
        """Return the device's counters, or None where nobody counts or the device is gone."""
        try:
            return parse_block_stat(read_text(self._path))
        except KernelFileError:
            return None


def _moved(before: BlockStat, now: BlockStat) -> bool:
    return now.in_flight == 0 or now.ios != before.ios or now.in_flight < before.in_flight
