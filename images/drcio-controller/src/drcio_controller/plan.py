"""Turn decisions into the set of knobs that must hold. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from drcio_controller.config import KERNEL_DEFAULT_WEIGHT, WEIGHT_MAX, Engine, VolumeProfile
from drcio_controller.engines import bfq, iocost, iomax
from drcio_controller.kernel.devices import Device
from drcio_controller.kernel.knob import SUBTREE_FILE, Knob
from drcio_controller.kernel.parse import DeviceId
from drcio_controller.law.decision import Decision
from drcio_controller.pods.mapping import Hierarchy
from drcio_controller.pods.nodepod import NodePod
from drcio_controller.pods.sandbox import levels_above
from drcio_controller.pods.weights import Member, clamp, device_weights, overhead_weights

PODS_WEIGHT: Final = 300
"""Of all pods together, against 100 for each of the slices beside them: I/O outside of pods (image pulls,
the kubelet, system.slice) yields to them as a lower class does to the protected."""
WEIGHT_FILE: Final = "io.weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedDevice:
    """A device, the engine that acts on it, and what the policy decided for it."""

    device: Device
    engine: Engine
    profile: VolumeProfile
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPod:
    """A pod, its cgroup, and the devices on which it lately did I/O."""

    pod: NodePod
    cgroup: str
    active_on: frozenset[DeviceId] = frozenset()
    overhead: tuple[str, ...] = ()
    """Cgroups outside of its own in which its sandbox does I/O."""

    @property
    def cgroups(self) -> tuple[str, ...]:
        return (self.cgroup, *self.overhead)


def wanted_knobs(
    hierarchy: Hierarchy, pods: Sequence[PlacedPod], devices: Sequence[ManagedDevice], *, weights_only: bool
) -> dict[Knob, str]:
    """Return every knob, in the order in which they must be written.

    Controllers first, or the other files do not exist; engines before weights, which they make act.
    `weights_only` leaves the QoS slices alone, as agents do that only know pods.
    """
    managed = [placed for placed in pods if placed.pod.managed]
    if not managed:
        return {}
    knobs = _controllers(hierarchy, placed_outside=[placed for placed in pods if placed.overhead])
    for entry in devices:
        knobs |= _engine(entry, pods, hierarchy)
    own = {cgroup: _own_weight(placed, devices) for placed in managed for cgroup in placed.cgroups}
    files = {_weight_file(entry.engine): None for entry in devices} or {WEIGHT_FILE: None}
    for file in files:
        for cgroup, weight in own.items():
            knobs[Knob(f"{cgroup}/{file}")] = str(clamp(weight, _weight_limit(file)))
    if weights_only:
        return knobs
    for entry in devices:
        if entry.engine not in (Engine.IOCOST, Engine.BFQ):
            continue  # without an engine the kernel refuses a weight for one device
        file = _weight_file(entry.engine)
        members = [
            Member(
                cgroup=placed.cgroup,
                qos=placed.pod.qos,
                weight=entry.decision.device_weights.get(placed.pod.uid, own.get(placed.cgroup)),
                active=entry.device.id in placed.active_on and not placed.overhead,
            )
            for placed in pods
        ]
        here = {
            cgroup: entry.decision.device_weights[placed.pod.uid]
            for placed in managed
            if placed.pod.uid in entry.decision.device_weights
            for cgroup in placed.cgroups
        }
        levels = device_weights(members, hierarchy, limit=_weight_limit(file))
        for path, weight in (here | levels).items():
            knobs[Knob(f"{path}/{file}", entry.device.id)] = str(weight)
        for path, weight in _outside_weights(hierarchy, pods, entry, own | here, _weight_limit(file)).items():
            knobs[Knob(f"{path}/{file}", entry.device.id)] = str(weight)
    return knobs


def _outside_weights(
    hierarchy: Hierarchy,
    pods: Sequence[PlacedPod],
    entry: ManagedDevice,
    own: Mapping[str, int],
    limit: int,
) -> dict[str, int]:
    """Return the weights of the levels that sandboxes' overhead cgroups hang from, and of all other pods."""
    device = entry.device.id
    outside = [
        (levels_above(cgroup), own.get(cgroup, KERNEL_DEFAULT_WEIGHT), device in placed.active_on)
        for placed in pods
        for cgroup in placed.overhead
    ]
    rest = sum(
        own.get(placed.cgroup, KERNEL_DEFAULT_WEIGHT)
        for placed in pods
        if not placed.overhead and device in placed.active_on
    )
    top = hierarchy.kubepods.partition("/")[0]
    weights = overhead_weights(outside, rest, top, limit=limit)
    # All of them by one factor, so that the pods together keep their weight against what is in no pod.
    factor = max(1.0, PODS_WEIGHT / weights[top]) if top in weights else 1.0
    return {path: min(limit, round(weight * factor)) for path, weight in weights.items()}


def _weight_file(engine: Engine) -> str:
    """Return the file whose weights act on a device: BFQ has its own, and takes no other device's."""
    return bfq.WEIGHT_FILE if engine is Engine.BFQ else WEIGHT_FILE


def _weight_limit(file: str) -> int:
    return bfq.WEIGHT_LIMIT if file == bfq.WEIGHT_FILE else WEIGHT_MAX


def _own_weight(placed: PlacedPod, devices: Sequence[ManagedDevice]) -> int:
    for entry in devices:
        if placed.pod.uid in entry.decision.weights:
            return entry.decision.weights[placed.pod.uid]
    if placed.pod.weight is None:
        raise AssertionError("an unmanaged pod has no weight of its own")
    return placed.pod.weight


def _controllers(hierarchy: Hierarchy, *, placed_outside: Sequence[PlacedPod]) -> dict[Knob, str]:
    """Return `io` at every level above the pods; systemd and kubelet may each take it out."""
    outside = [level for placed in placed_outside for path in placed.overhead for level in levels_above(path)]
    return {
        Knob(f"{level}/{SUBTREE_FILE}" if level else SUBTREE_FILE, "io"): "on"
        for level in (*hierarchy.levels, *outside)
    }


def _engine(entry: ManagedDevice, pods: Sequence[PlacedPod], hierarchy: Hierarchy) -> dict[Knob, str]:
    device = entry.device
    knobs: dict[Knob, str] = {}
    match entry.engine:
        case Engine.IOCOST:
            decision = entry.decision
            model = decision.model or iocost.CostModel.doubled(entry.profile).faster(decision.budget_ratio)
            knobs |= iocost.knobs(device.id, model, decision.period_us)
            knobs[Knob(f"{hierarchy.kubepods}/{WEIGHT_FILE}", device.id)] = str(PODS_WEIGHT)
        case Engine.BFQ:
            knobs |= bfq.knobs(device)
        case _:
            pass
    cgroups = {placed.pod.uid: placed.cgroups for placed in pods}
    caps = {cgroup: limits for uid, limits in entry.decision.caps.items() for cgroup in cgroups.get(uid, ())}
    return knobs | iomax.knobs(device.id, caps)
