"""The earlier DRC-IO demo's step function: weights by how far P95 is from its target.

As published: every 5 s, 10 s between two changes, P95 over a window of one minute, five steps from
900:100 to 500:500. It only writes weights; no engine is turned on.
"""

from __future__ import annotations

from typing import Final

from drcio_controller.law.decision import Decision, View
from drcio_controller.law.roles import split

INTERVAL_S: Final = 5.0
COOLDOWN_S: Final = 10.0

_STEPS: Final = ((1.3, 900, 100), (1.1, 800, 200), (1.0, 700, 300), (0.8, 600, 400))
"""Least ratio of P95 to the target, then the high and the low weight."""
_CALM: Final = (500, 500)


def weights_for(ratio: float) -> tuple[int, int]:
    """Return the high and the low weight for P95 over its target."""
    return next(((high, low) for least, high, low in _STEPS if ratio >= least), _CALM)


class StepPolicy:
    """Weights in five steps, for all pods of each role alike."""

    def __init__(self) -> None:
        self._looked_at_s = float("-inf")
        self._changed_at_s = float("-inf")
        self._weights = _STEPS[2][1:]

    def decide(self, view: View) -> Decision:
        now_s = view.window.end_s
        protected, yielding = split(view.window.flows)
        ratios = [
            latency.measured_s / latency.limit_s
            for flow in protected
            if (latency := view.latencies.get(flow.pod.uid)) is not None
        ]
        ratio = max(ratios, default=1.0)
        if now_s - self._looked_at_s >= INTERVAL_S:
            self._looked_at_s = now_s
            weights = weights_for(ratio)
            if weights != self._weights and now_s - self._changed_at_s >= COOLDOWN_S:
                self._weights = weights
                self._changed_at_s = now_s
        high, low = self._weights
        return Decision(
            state="step",
            reason=f"P95 is {ratio:.2f} of its target" if ratios else "no latency is known",
            weights={
                **{flow.pod.uid: high for flow in protected},
                **{flow.pod.uid: low for flow in yielding if flow.pod.managed},
            },
            terms={"ratio": ratio},
        )
