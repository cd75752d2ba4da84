"""Turn observations and the load generator's record into a `drcio.run/1` record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from experiments.job import account
from experiments.job.counters import Io
from experiments.job.observer import Observation, Restarts, Sources
from experiments.records.jsonfields import JsonObject
from experiments.records.record import Clock, Devices, IoCounters, PodInfo, PodSample, RunRecord, Sample
from experiments.records.spec import PlannedRun, Spec
from load_generator.document import LoadDocument

SECOND_HAND: Final = (
    "measured from inside the cluster: bytes are the workloads' own counts, weights and engine are the "
    "controller's account, and how long the service waited for a CPU is not known"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of a run."""

    load: LoadDocument
    observations: Sequence[Observation]
    window_start_s: float
    """Of the measured window, by the monotonic clock."""
    started_unix_s: float
    clock: Clock
    """Whose time that is."""
    restarts: Restarts
    environment: JsonObject
    interrupted: bool
    notes: Sequence[str] = ()


def run_record(spec: Spec, planned: PlannedRun, sources: Sources, measured: Measured) -> RunRecord:
    """Put one run together."""
    observations, restarts = measured.observations, measured.restarts
    accounts = [seen.account for seen in observations if seen.account is not None]
    anywhere = {f"claim/{sources.claim}": 1.0}
    hp_device = _main(account.shares_of_devices(accounts, sources.hp_app) or anywhere)
    lp_shares = account.shares_of_devices(accounts, sources.lp_app) or {hp_device: 1.0}
    with_lp = any(seen.lp is not None for seen in observations)
    pods = {
        sources.hp_app: PodInfo(qos_class="Burstable", priority="high", role="hp", restarts=restarts.hp),
    }
    if with_lp:
        pods[sources.lp_app] = PodInfo(qos_class="Burstable", priority="low", role="lp", restarts=restarts.lp)
    return RunRecord(
        scenario=planned.scenario.name,
        policy=planned.scenario.policy,
        repeat=planned.repeat,
        order=planned.order,
        started_unix_s=measured.started_unix_s,
        warmup_s=spec.warmup_s,
        duration_s=spec.duration_s,
        environment=measured.environment,
        load=measured.load,
        samples=tuple(
            _sample(seen, sources, {hp_device: 1.0}, lp_shares, measured.window_start_s)
            for seen in observations
        ),
        devices=Devices(hp=(hp_device,), lp=tuple(sorted(lp_shares)) if with_lp else ()),
        lp_summary=None,
        pods=pods,
        notes=(SECOND_HAND, *measured.notes),
        interrupted=measured.interrupted,
        clock=measured.clock,
    )


def _main(shares: Mapping[str, float]) -> str:
    """Return the device that took most; the others are where the container's own files lie."""
    return max(sorted(shares), key=lambda device: shares[device])


def _sample(
    seen: Observation,
    sources: Sources,
    hp_shares: Mapping[str, float],
    lp_shares: Mapping[str, float],
    window_start_s: float,
) -> Sample:
    pods = {}
    for app, io, shares in ((sources.hp_app, seen.hp, hp_shares), (sources.lp_app, seen.lp, lp_shares)):
        if io is not None:
            weight = None if seen.account is None else account.weight_of(seen.account, app)
            pods[app] = PodSample(
                io={device: _part(io, share) for device, share in shares.items()}, io_weight=weight
            )
    return Sample(t_s=round(seen.at_s - window_start_s, 3), pods=pods, controller=seen.account)


def _part(io: Io, share: float) -> IoCounters:
    return IoCounters({name: round(value * share) for name, value in asdict(io).items()})
