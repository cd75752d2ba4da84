"""What the controller knows and did, as one value that other threads may read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum


class Effect(StrEnum):
    """Whether a pod's weight does anything on a device."""

    EFFECTIVE = "effective"
    INERT = "inert"
    IDLE = "idle"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodOnDevice:
    """One pod's I/O on one device."""

    device: str
    role: str | None
    """protected, yielding or peer; None before a window of the device was seen."""
    effect: Effect
    why: str
    """Why it is inert; empty otherwise."""
    limit: str | None
    """Its line of io.max, as last read; None where it has none of ours."""
    bytes_read: int
    """Cumulative, as are the other counters."""
    bytes_written: int
    ios: int
    bytes_per_s: float
    ios_per_s: float
    io_stall_ratio: float | None
    share_intended: float | None
    """Of the active pods on the device, if all of them wanted all of it."""
    share_achieved: float | None
    """Of what the active pods used; below the intended one where the pod wants less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodStatus:
    """One pod."""

    namespace: str
    name: str
    uid: str
    qos: str
    priority: str | None
    priority_from: str | None
    """label, namespace or default; None for a pod of no class."""
    weight: int | None
    weight_set: int | None
    """What its cgroup was last seen to hold; None before it has been written."""
    problems: tuple[str, ...] = ()
    devices: tuple[PodOnDevice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatus:
    """What all EBS volumes of the instance can do together."""

    type: str
    iops: float
    mib_s: float
    burst_iops: float
    burst_mib_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatus:
    """One device."""

    device: str
    name: str
    serial: str
    engine: str
    engine_note: str
    """Why it is not a better one."""
    acting: bool
    """Whether what makes weights act on it was read back; false as well while nothing is needed."""
    acting_since_unix_s: float
    """Since when that is so."""
    profile_source: str
    """configured; ebs or learning where nobody told, and the profile is where the search began."""
    profile_iops: int
    profile_mib_s: float
    instance: InstanceStatus | None
    """None where the device is no EBS volume, or the instance's type is not known."""
    latency_ms: float | None
    ios_per_s: float
    bytes_per_s: float
    in_flight: int
    state: str
    state_since_unix_s: float
    reason: str
    withdrawn: str
    """Why nobody is held back although somebody should be; empty while control stands."""
    writes_wait_s: float | None
    """How long a write has been waiting for a device that has stopped; None while it has not."""
    budget_ratio: float
    budget_used_ratio: float | None
    knobs: dict[str, str] = field(default_factory=dict)
    """What is set for the whole device, by file."""
    terms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """Everything, as of the last tick."""

    node: str = ""
    at_unix_s: float = 0.0
    policy: str = ""
    config_digest: str = ""
    """Of the configuration in force (`config.digest`), by which others know what they measure."""
    synced: bool = False
    standby: str = ""
    """Why this agent writes nothing (standby.Standby); empty for one that does."""
    config_error: str = ""
    pods: tuple[PodStatus, ...] = ()
    devices: tuple[DeviceStatus, ...] = ()
    problems: tuple[str, ...] = ()
    """What does not hold now, for people to read."""

    def to_json(self) -> dict[str, object]:
        """Return plain dictionaries and lists."""
        return dataclasses.asdict(self)
