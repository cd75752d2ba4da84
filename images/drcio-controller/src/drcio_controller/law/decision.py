"""What a policy is given and what it answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from drcio_controller.config import Engine, VolumeProfile
from drcio_controller.engines.iocost import PERIOD_MIN_US, CostModel
from drcio_controller.instance import InstanceLimit
from drcio_controller.kernel.parse import Limits
from drcio_controller.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A pod's own latency in the last window against its target."""

    measured_s: float
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceLoad:
    """The limit over all EBS volumes of the instance, and what the others use of it now."""

    limit: InstanceLimit
    volumes: int = 1
    """EBS volumes that managed pods use, this one included, and others that are busy now."""
    others_bytes_per_s: float = 0.0
    others_ios_per_s: float = 0.0

    def left_over(self) -> tuple[float, float]:
        """Return the bytes and the I/Os a second of the baseline that are left for this volume."""
        parts = max(1, self.volumes)
        return (
            max(
                self.limit.baseline_bytes_per_s - self.others_bytes_per_s,
                self.limit.baseline_bytes_per_s / parts,
            ),
            max(self.limit.baseline_iops - self.others_ios_per_s, self.limit.baseline_iops / parts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that a policy may look at."""

    window: Window
    engine: Engine
    profile: VolumeProfile
    profile_known: bool
    """False: nobody told us what the device can do, an EBS volume least of all; the profile is a place to
    start from."""
    lately: Collection[str] = ()
    """The uids of the pods that did I/O here in the last ten seconds: they count in what others' weights are
    reckoned against."""
    froze_s: float = 0.0
    """How long the last write on this device took that freezes its queue: it waits until that is empty."""
    latencies: Mapping[str, Latency] = field(default_factory=dict)
    """By pod uid; only pods that name a target and could be asked."""
    instance: InstanceLoad | None = None
    """The instance's own EBS limit, above the volumes; None where it is not known or the device is no EBS
    volume."""

    @property
    def reachable(self) -> VolumeProfile:
        """Return what the device can sustain: its own profile, or what the instance's baseline leaves it
        beside its other volumes, at least an equal part."""
        if self.instance is None:
            return self.profile
        bytes_per_s, iops = self.instance.left_over()
        return replace(
            self.profile,
            mib_s=min(self.profile.mib_s, bytes_per_s / (1 << 20)),
            iops=min(self.profile.iops, max(1, int(iops))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What must hold on one device until the next decision."""

    state: str
    """One word, fit for a metric label."""
    reason: str
    """One clause, for people."""
    budget_ratio: float = 1.0
    """How many times its profile the device is taken for."""
    model: CostModel | None = None
    """iocost: what an I/O costs; None: that of a device of `budget_ratio` times twice its IOPS."""
    period_us: int = PERIOD_MIN_US
    """iocost: how long a cgroup's share is reckoned over."""
    caps: Mapping[str, Limits] = field(default_factory=dict)
    """io.max by pod uid."""
    weights: Mapping[str, int] = field(default_factory=dict)
    """By pod uid, where a policy wants others than the classes'."""
    withdrawn: str = ""
    """Why nobody is held back although somebody should be: it did not help. Empty while control stands."""
    device_weights: Mapping[str, int] = field(default_factory=dict)
    """By uid of managed pods: on this device alone, where one is to weigh something else than everywhere."""
    look_again_s: float | None = None
    """Look again earlier than at the configured interval."""
    terms: Mapping[str, float] = field(default_factory=dict)
    """Every number that went into it, logged once."""


class DevicePolicy(Protocol):
    """One device's policy with its memory."""

    def decide(self, view: View) -> Decision:
        """Return what must hold now."""
        ...
