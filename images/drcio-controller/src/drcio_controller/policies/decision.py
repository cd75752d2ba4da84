"""What a policy is given and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from drcio_controller.cgroupfs.parse import Limits
from drcio_controller.config import Engine, VolumeProfile
from drcio_controller.engines.iocost import PERIOD_MIN_US
from drcio_controller.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A pod's own latency in the last window against its target."""

    measured_s: float
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that a policy may look at."""

    window: Window
    engine: Engine
    profile: VolumeProfile
    profile_known: bool
    """False: nobody told us what the device can do, an EBS volume least of all; the profile is a place to
    start from."""
    latencies: Mapping[str, Latency] = field(default_factory=dict)
    """By pod uid; only pods that name a target and could be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What must hold on one device until the next decision."""

    state: str
    """One word, fit for a metric label."""
    reason: str
    """One clause, for people."""
    budget_ratio: float = 1.0
    """iocost: how many times its profile the device is taken for."""
    period_us: int = PERIOD_MIN_US
    """iocost: how long a cgroup's share is reckoned over."""
    caps: Mapping[str, Limits] = field(default_factory=dict)
    """io.max by pod uid."""
    weights: Mapping[str, int] = field(default_factory=dict)
    """By pod uid, where a policy wants others than the classes'."""
    look_again_s: float | None = None
    """Look again earlier than at the configured interval."""
    terms: Mapping[str, float] = field(default_factory=dict)
    """Every number that went into it, logged once."""


class DevicePolicy(Protocol):
    """One device's policy with its memory."""

    def decide(self, view: View) -> Decision:
        """Return what must hold now."""
        ...
