"""Who is protected on a device, and who has to yield. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from drcio_controller.config import KERNEL_DEFAULT_WEIGHT
from drcio_controller.window import Flow


def split(flows: Sequence[Flow]) -> tuple[tuple[Flow, ...], tuple[Flow, ...]]:
    """Return the protected flows and the yielding ones.

    Protected are the managed pods of the heaviest class on the device, if somebody lighter is there
    too. Among equals nobody is: then there is nothing to arbitrate but shares, and weights do that.
    """
    top = max((flow.pod.weight for flow in flows if flow.pod.weight is not None), default=0)
    lighter = tuple(flow for flow in flows if _weight(flow) < top)
    if not lighter:
        return (), tuple(flows)
    protected = tuple(flow for flow in flows if flow.pod.weight == top)
    return protected, tuple(flow for flow in flows if flow.pod.weight != top)


def _weight(flow: Flow) -> int:
    return KERNEL_DEFAULT_WEIGHT if flow.pod.weight is None else flow.pod.weight
