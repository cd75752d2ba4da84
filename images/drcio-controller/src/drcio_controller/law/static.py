"""Policies without feedback: what others do, to be compared with."""

from __future__ import annotations

from typing import Final

from drcio_controller.kernel.parse import Limits
from drcio_controller.law.decision import Decision, View

STATIC_BUDGET_RATIO: Final = 1.0
"""With iocost's model at twice the volume's IOPS: the best fixed setting of a measured sweep
(QEMU twin, 3000 IOPS, 125 MiB/s, 1 MiB random I/O: high-priority p95 4.0 ms, 114 of 125 MB/s)."""


class StaticPolicy:
    """Keep the classes' weights and one budget."""

    def decide(self, view: View) -> Decision:
        return Decision(state="static", reason="weights and a fixed budget", budget_ratio=STATIC_BUDGET_RATIO)


class CapPolicy:
    """Hold everything below the highest class at a fixed share of the volume, idle or not."""

    def __init__(self, percent: int, top_weight: int) -> None:
        self._percent = percent
        self._top_weight = top_weight

    def decide(self, view: View) -> Decision:
        capped = [
            flow.pod.uid
            for flow in view.window.flows
            if flow.pod.weight is not None and flow.pod.weight < self._top_weight
        ]
        limits = _split(view, self._percent / 100, max(1, len(capped)))
        return Decision(
            state="capped",
            reason=f"lower classes together at {self._percent}% of the volume",
            caps=dict.fromkeys(capped, limits),
        )


def _split(view: View, share: float, parts: int) -> Limits:
    """Return one part of a share; reads and writes each get it, as one volume bucket serves both."""
    bytes_per_s = max(1, round(view.profile.bytes_per_s * share / parts))
    iops = max(1, round(view.profile.iops * share / parts))
    return Limits(rbps=bytes_per_s, wbps=bytes_per_s, riops=iops, wiops=iops)
