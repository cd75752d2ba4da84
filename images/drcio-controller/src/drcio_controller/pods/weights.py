"""Weights that are right across the QoS slices. Pure arithmetic.

A weight compares siblings only. Guaranteed pods are siblings of the two QoS slices, not of the pods
inside them, so each slice must weigh what its pods weigh together; then two pods' shares follow
their own weights wherever they sit:

    share(pod) = slice / (slices + guaranteed) * pod / slice = pod / sum of all

A slice's weight counts the pods that do I/O on the device: an idle pod's weight would otherwise
go to its neighbours in the slice instead of to everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from drcio_controller.config import KERNEL_DEFAULT_WEIGHT, WEIGHT_MAX, WEIGHT_MIN
from drcio_controller.kube.pod import QosClass
from drcio_controller.pods.mapping import Hierarchy


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A pod as far as weights on one device are concerned."""

    cgroup: str
    qos: QosClass
    weight: int | None
    """None: unmanaged; it keeps what the kernel gave it, and counts with that."""
    active: bool

    @property
    def counted_weight(self) -> int:
        return KERNEL_DEFAULT_WEIGHT if self.weight is None else self.weight


def device_weights(
    members: Sequence[Member], hierarchy: Hierarchy, *, limit: int = WEIGHT_MAX
) -> dict[str, int]:
    """Return the weight on one device of each QoS slice, and of pods that need another than their own.

    A slice is in it only if it holds a managed pod or competes with one. `limit` is the engine's
    largest weight; where a slice's sum exceeds it, everything on that level is scaled down alike.
    """
    if not any(member.weight is not None for member in members):
        return {}
    sums = {
        hierarchy.qos_slice(qos): _slice_sum([member for member in members if member.qos is qos])
        for qos in (QosClass.BURSTABLE, QosClass.BEST_EFFORT)
    }
    guaranteed = {
        member.cgroup: member.weight
        for member in members
        if member.qos is QosClass.GUARANTEED and member.weight is not None
    }
    level = {**{path: weight for path, weight in sums.items() if weight}, **guaranteed}
    scale = min(1.0, limit / max(level.values(), default=1))
    scaled = {path: clamp(weight * scale, limit) for path, weight in level.items()}
    return {path: weight for path, weight in scaled.items() if path in sums or weight != level[path]}


def overhead_weights(
    pods: Sequence[tuple[Sequence[str], int, bool]], rest: int, sibling: str, *, limit: int = WEIGHT_MAX
) -> dict[str, int]:
    """Return the weight on one device of every level above pods that live outside of kubepods.

    `pods` are (levels above it, weight, active); `sibling` is the root's child that holds all other pods
    and `rest` what those weigh together. Each level weighs what is below it, as a QoS slice does.
    """
    counted = [entry for entry in pods if entry[2]] or pods
    sums: dict[str, int] = {}
    for levels, weight, _ in counted:
        for level in levels:
            sums[level] = sums.get(level, 0) + weight
    if not sums:
        return {}
    if rest:
        sums[sibling] = rest
    scale = min(1.0, limit / max(sums.values()))
    return {path: clamp(weight * scale, limit) for path, weight in sums.items()}


def clamp(weight: float, limit: int = WEIGHT_MAX) -> int:
    """Return the nearest weight that an engine takes."""
    return max(WEIGHT_MIN, min(limit, round(weight)))


def shares(members: Iterable[Member], weights: Mapping[str, int], hierarchy: Hierarchy) -> dict[str, float]:
    """Return the share of the device that each active pod gets when all of them want all of it.

    `weights` is what `device_weights` returned; this is the kernel's arithmetic on top of it.
    """
    active = [member for member in members if member.active]
    slices = {qos: hierarchy.qos_slice(qos) for qos in QosClass}

    def own(member: Member) -> int:
        return weights.get(member.cgroup, member.counted_weight)

    top: dict[str, int] = {}
    inside: dict[str, int] = {}
    for member in active:
        if member.qos is QosClass.GUARANTEED:
            top[member.cgroup] = own(member)
        else:
            path = slices[member.qos]
            top[path] = weights.get(path, KERNEL_DEFAULT_WEIGHT)
            inside[path] = inside.get(path, 0) + own(member)
    total = sum(top.values())
    result = {}
    for member in active:
        if member.qos is QosClass.GUARANTEED:
            result[member.cgroup] = top[member.cgroup] / total
        else:
            path = slices[member.qos]
            result[member.cgroup] = top[path] / total * own(member) / inside[path]
    return result


def _slice_sum(members: Sequence[Member]) -> int:
    """Weigh the active pods; if none is, all of them, so that the first to wake is not held back."""
    counted = [member for member in members if member.active] or members
    return sum(member.counted_weight for member in counted)
