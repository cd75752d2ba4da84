"""Who is protected on a device, and who has to yield. Pure.

Roles go by the order of weights. A pod counts with the weight of its class: the one that its label names,
else its namespace's label, else the configuration's default; a pod of no class counts with what the kernel
gave it (100). A pod's own weight annotation changes its share and not its role, or one pod's author would
decide who else is protected.

Sorted from the heaviest, the weights are cut at the first gap where the next is at most half: above it are
the protected, below it those who yield. Pods whose weights are closer than that are never on two sides, so
1001 beside 1000 makes nobody yield. Without a gap all are peers: there is nothing to arbitrate but shares,
and weights do that.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

from drcio_controller.window import Flow

GAP: Final = 2
"""The next weight is at most the heavier one's by this factor where the two have different roles."""


class Role(StrEnum):
    """What a pod is taken for on one device."""

    PROTECTED = "protected"
    YIELDING = "yielding"
    PEER = "peer"
    """Nobody there is so much lighter or heavier that one would be held for the other."""


def split(flows: Sequence[Flow]) -> tuple[tuple[Flow, ...], tuple[Flow, ...]]:
    """Return the protected flows and the others: those that yield, or all where they are peers."""
    least = _least_protected(flow.pod.ranked_weight for flow in flows)
    if least is None:
        return (), tuple(flows)
    protected = tuple(flow for flow in flows if flow.pod.ranked_weight >= least)
    return protected, tuple(flow for flow in flows if flow.pod.ranked_weight < least)


def roles(flows: Sequence[Flow]) -> dict[str, Role]:
    """Return each pod's role, by its uid."""
    protected, others = split(flows)
    of_others = Role.YIELDING if protected else Role.PEER
    return {flow.pod.uid: Role.PROTECTED for flow in protected} | {flow.pod.uid: of_others for flow in others}


def _least_protected(weights: Iterable[int]) -> int | None:
    """Return the lightest weight that is protected, or None where nobody is."""
    ordered = sorted(set(weights), reverse=True)
    for heavier, lighter in itertools.pairwise(ordered):
        if lighter * GAP <= heavier:
            return heavier
    return None
