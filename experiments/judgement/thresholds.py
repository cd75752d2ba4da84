"""The limits of the judgement, by name and with their reasons."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The limits of the judgement. The first five are the promise; the others guard its meaning."""

    contention_p95_ratio_min: float = 3.0
    drcio_p95_ratio_max: float = 1.3
    drcio_fetch_p95_ratio_max: float | None = 5.0
    """None for a service that does not report its reads from disk: then they are not judged."""
    work_conservation_min: float = 0.80
    failed_requests_max: int = 0

    contention_fetch_p95_ratio_min: float = 3.0
    """Without this, latency that grew for want of a CPU would pass for I/O contention."""
    lp_volume_share_min: float = 0.25
    """Less than a quarter of the volume is not contention for it."""
    lp_active_share_min: float = 0.80
    lp_shared_share_min: float = 0.90
    baseline_lp_volume_share_max: float = 0.01
    hp_cpu_wait_share_max: float = 0.40
    """A sound twin shows 2 to 11% (emulated, 2 CPUs, 5 requests a second: our first run)."""
    hp_cpu_wait_excess_max: float = 0.20
    """How much more it may wait for a CPU beside the batch job than it does alone."""
    hp_throttled_share_max: float = 0.05
    cpu_lost_share_max: float = 0.10
    """Of CPU time, taken from outside. A quiet machine loses less than 0.03; a program that keeps one of
    two CPUs busy takes 0.25 to 0.5 of a run that could use both."""
    sent_share_min: float = 0.95
    """Of the planned requests; below it the generator did not keep its schedule."""
    achieved_share_min: float = 0.90
    """Of baseline: a service that cannot keep up alone has a queue of its own making."""
    completed_min: int = 100
    """A 95th percentile of fewer stands on fewer than five requests."""
    sampled_share_min: float = 0.80
    controller_share_min: float = 0.80
    controller_inert_share_max: float = 0.50
    baseline_p95_spread_max: float = 2.0
    """Largest over smallest; a quiet twin repeats within a factor of 1.5 (measured)."""
