"""Sums over the pods of one app that only grow, whatever becomes of the pods."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import astuple, dataclass


@dataclass(frozen=True, slots=True)
class Io:
    """Bytes and operations since an app was first seen."""

    rbytes: int = 0
    wbytes: int = 0
    rios: int = 0
    wios: int = 0

    @property
    def bytes(self) -> int:
        return self.rbytes + self.wbytes

    def __add__(self, other: Io) -> Io:
        return Io(*map(operator.add, astuple(self), astuple(other)))

    def since(self, earlier: Io) -> Io:
        return Io(*map(operator.sub, astuple(self), astuple(earlier)))


class GrowingSum:
    """Add up what pods moved while they were watched.

    A pod's counters count from its first scrape on. Where they went down, the pod was started anew,
    and all that they show has been moved since.
    """

    def __init__(self) -> None:
        self.total = Io()
        self.restarts = 0
        self._last: dict[str, Io] = {}
        self._settled = False

    def update(self, by_address: Mapping[str, Io]) -> Io:
        """Take one scrape of all pods that answered; returns the sum so far."""
        for address, now in by_address.items():
            before = self._last.get(address)
            if before is not None:
                anew = now.bytes < before.bytes or now.rios + now.wios < before.rios + before.wios
                self.restarts += anew
                self.total += now if anew else now.since(before)
            elif self._settled:
                # At an address of its own after all that belong here were seen: it replaces one of them.
                self.restarts += 1
                self.total += now
            self._last[address] = now
        return self.total

    def settled(self) -> None:
        """Note that all pods are there: one that appears from now on stands for one that failed."""
        self._settled = bool(self._last)
        self.restarts = 0
