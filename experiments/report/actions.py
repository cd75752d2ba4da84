"""What the controller did in a run, by what the kernel's files held before and after."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from experiments.judgement import account
from experiments.judgement.figures import MIB
from experiments.judgement.kernelfiles import device_fields
from experiments.records.record import RunRecord, Sample

NOTHING: Final = "not set"
_OFF: Final = "off"


class Change(NamedTuple):
    """One thing that was turned."""

    what: str
    before: str
    after: str


class Action(NamedTuple):
    """Everything that changed between two looks, which are a second apart."""

    t_s: float
    """Of the look that found it changed, since the measured load began."""
    changes: tuple[Change, ...]


def actions_of(record: RunRecord) -> tuple[Action, ...]:
    """Return what changed in a run, from its first look in the warm-up to the end of its window."""
    seen = [sample for sample in record.samples if sample.t_s <= record.duration_s]
    return tuple(
        Action(later.t_s, changes)
        for earlier, later in itertools.pairwise(seen)
        if (changes := tuple(_changes(_knobs(earlier, record), _knobs(later, record))))
    )


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for what in dict.fromkeys((*before, *after)):
        old, new = before.get(what, NOTHING), after.get(what, NOTHING)
        if old != new:
            yield Change(what, old, new)


def _knobs(sample: Sample, record: RunRecord) -> dict[str, str]:
    """Return everything that a controller turns, in words, by what it is."""
    found = {}
    for pods, whose in ((record.pods_of("hp"), "service"), (record.pods_of("lp"), "batch job")):
        weights = [sample.pods[pod].io_weight for pod in pods if pod in sample.pods]
        if weights and weights[0] is not None:
            found[f"weight of the {whose}"] = str(weights[0])
    for path, weight in sample.slices.items():
        found[f"weight of {path.rpartition('/')[2]}"] = str(weight)
    for pod, limit in sample.io_max.items():
        if limit:
            found[f"io.max of {pod}"] = limit
    qos = device_fields(sample.qos, record.devices.hp)
    found["iocost"] = _OFF
    if qos is not None and qos.get("enable") == "1":
        found["iocost"] = f"on, speed held at {qos.get('min', '?')} to {qos.get('max', '?')}%"
        model = device_fields(sample.model, record.devices.hp)
        if model is not None:
            found["iocost's model"] = _model(model)
    if sample.controller is not None:
        state = account.of_device(sample.controller, record.devices.hp, "state")
        if state is not None:
            found["controller's state"] = state
    return found


def _model(fields: Mapping[str, str]) -> str:
    """Write what the model takes the device for, as far as it is written in numbers."""
    bytes_per_s, iops = fields.get("rbps", ""), fields.get("rrandiops", "")
    parts = [
        f"{int(bytes_per_s) / MIB:.0f} MiB/s" if bytes_per_s.isdecimal() else "",
        f"{iops} IOPS" if iops.isdecimal() else "",
    ]
    return ", ".join(part for part in parts if part) or "the kernel's own"
