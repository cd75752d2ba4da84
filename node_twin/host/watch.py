"""Waiting for a guest: whatever waits, waits in the guest, by its clock.

The host sends a request, watches that the guest is alive, and takes the answer: time-outs here are the
guest's seconds, however long those last.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_all
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import httpx

from node_twin.errors import GuestDied
from node_twin.host.vm import Guest

OnElapsed = Callable[[float], None]
"""Gets the guest's seconds since a call was made."""

_LOOK_EVERY_S = 1.0
_STUCK_AFTER_S = 120.0
"""Of the host's time without a second of the guest's: such a second takes a minute on a crowded host."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How long an answer may take, by the guest's clock or, where that leaps, by the host's."""

    guest_s: float = math.inf
    host_s: float = math.inf


class Watch:
    """Watch a guest while something is waited for: that it lives, and that its clock moves."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def clock_s(self) -> float:
        """Return the guest's clock in whole seconds, by its emulated real-time clock."""
        now = cast("Mapping[str, int]", self._guest.qmp("qom-get", path="/machine", property="rtc-time"))
        return datetime(
            now["tm_year"] + 1900,
            now["tm_mon"] + 1,
            now["tm_mday"],
            now["tm_hour"],
            now["tm_min"],
            now["tm_sec"],
            tzinfo=UTC,
        ).timestamp()

    def until_done(
        self, call: Future[httpx.Response], what: str, on_elapsed: OnElapsed, limit: Limit
    ) -> None:
        """Return once the call is over; raises GuestDied when the guest ends, stands still or is too late."""
        if wait_for_all([call], timeout=_LOOK_EVERY_S).done:
            return
        begun_s = clock_s = self.clock_s()
        began_s = moved_s = time.monotonic()
        while not wait_for_all([call], timeout=_LOOK_EVERY_S).done:
            self._guest.check()
            now_s, clock_now_s = time.monotonic(), self.clock_s()
            if clock_now_s != clock_s:
                clock_s, moved_s = clock_now_s, now_s
                on_elapsed(clock_s - begun_s)
            if now_s - moved_s > _STUCK_AFTER_S:
                raise self._lost(f"the guest's clock has stood still for {_STUCK_AFTER_S:.0f} s at {what}")
            if clock_s - begun_s > limit.guest_s:
                raise self._lost(f"no answer to {what} within {limit.guest_s:.0f} s of the guest's time")
            if now_s - began_s > limit.host_s:
                raise self._lost(f"no answer to {what} within {limit.host_s:.0f} s")

    def _lost(self, why: str) -> GuestDied:
        return GuestDied(why, console_tail=self._guest.console_tail())
