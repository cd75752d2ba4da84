"""Build records of runs that never were: sound ones by default, with what a caller wants changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from experiments.judgement.figures import MIB
from experiments.records.jsonfields import JsonObject
from experiments.records.record import (
    Clock,
    CpuCounters,
    CpuPressure,
    CpuSample,
    Devices,
    DeviceSample,
    IoCounters,
    IoPressure,
    PodInfo,
    PodSample,
    RunRecord,
    Sample,
)
from experiments.records.spec import (
    BASELINE,
    DRCIO,
    PlannedRun,
    Scenario,
    Spec,
)
from load_generator.document import LoadDocument

DEVICE: Final = "254:0"
HP_POD: Final = "hp-gnn-service"
LP_POD: Final = "lp-batch"

ENVIRONMENT: Final[JsonObject] = {
    "commit": "0123456789ab",
    "kernel": "6.1.0-44-amd64",
    "target": "twin",
    "accelerator": "tcg",
    "volume": {"iops": 3000, "mib_s": 125},
    "scheduler": "none",
    "read_path": "o_direct",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What a run is to look like; the figures of a healthy baseline unless changed."""

    p95_ms: float = 60.0
    fetch_p95_ms: float | None = 4.0
    """None for a service that does not report its reads from disk."""
    compute_p95_ms: float | None = 30.0
    """None for a service that does not report its computing."""
    hp_reads: bool = True
    """False for a service whose data lies in memory or on another device."""
    lp_mib_s: float = 0.0
    lp_ops_s: float | None = None
    """256 KiB I/Os unless given."""
    lp_device: str = DEVICE
    lp_pod: bool = True
    lp_stops_at_s: float | None = None
    lp_restarts: int = 0
    hp_restarts: int = 0
    hp_cpu_wait_share: float = 0.1
    hp_cpu_usage_share: float = 0.3
    """Of one CPU."""
    hp_throttled_share: float = 0.0
    lp_cpu_wait_share: float = 0.0
    cpu_steal_share: float | None = 0.0
    """Of the node's CPU time; None for a record that does not have it."""
    cpu_taken_share: float | None = 0.0
    """Of the host's CPU time, which is full if it is not 0; None for a record that does not have it."""
    clock: Clock = "real"
    failed: int = 0
    offered_share: float = 1.0
    achieved_share: float = 1.0
    fell_behind: bool = False
    interrupted: bool = False
    sampled_until_share: float = 1.0
    iocost: bool = False
    scheduler: str = "none"
    lp_io_max: str = ""
    controller_state: str | None = None
    """None for a run without a controller."""
    controller_effect: str = "effective"
    hp_weight: int = 100
    lp_weight: int = 100
    vrate_pct: float = 100.0


BASELINE_BEHAVIOUR: Final = Behaviour(lp_pod=False)
CONTENTION_BEHAVIOUR: Final = Behaviour(p95_ms=620.0, fetch_p95_ms=540.0, lp_mib_s=119.0)
DRCIO_BEHAVIOUR: Final = Behaviour(
    p95_ms=64.0,
    fetch_p95_ms=6.5,
    lp_mib_s=110.0,
    iocost=True,
    controller_state="holding",
    hp_weight=1000,
    lp_weight=10,
    vrate_pct=103.0,
)


def behaviour_of(scenario: Scenario) -> Behaviour:
    """Return the behaviour that a healthy run of a scenario has."""
    if scenario.name == BASELINE:
        return BASELINE_BEHAVIOUR
    return DRCIO_BEHAVIOUR if scenario.name == DRCIO else CONTENTION_BEHAVIOUR


def build_run_around(load: LoadDocument, spec: Spec, run: PlannedRun, behaviour: Behaviour) -> RunRecord:
    """Build the record of a run that a load generator's record is given for."""
    devices = Devices(hp=(DEVICE,), lp=(behaviour.lp_device,) if behaviour.lp_pod else ())
    hp = PodInfo(qos_class="Burstable", priority="high", role="hp", restarts=behaviour.hp_restarts)
    lp = PodInfo(qos_class="BestEffort", priority="low", role="lp", restarts=behaviour.lp_restarts)
    return RunRecord(
        scenario=run.scenario.name,
        policy=run.scenario.policy,
        repeat=run.repeat,
        order=run.order,
        started_unix_s=1_790_000_000.0 + run.order * 40,
        warmup_s=spec.warmup_s,
        duration_s=spec.duration_s,
        environment=ENVIRONMENT,
        load=load,
        samples=build_samples(spec, behaviour),
        devices=devices,
        lp_summary={"operations": 1234} if behaviour.lp_pod else None,
        pods={HP_POD: hp, **({LP_POD: lp} if behaviour.lp_pod else {})},
        interrupted=behaviour.interrupted,
        clock=behaviour.clock,
        host=build_host(spec, behaviour.cpu_taken_share) if behaviour.cpu_taken_share is not None else (),
    )


def build_host(spec: Spec, taken_share: float) -> tuple[CpuSample, ...]:
    """Build one look a second at a host of two CPUs that the experiment fills as far as others let it."""
    own_share = 1.0 - taken_share if taken_share else 0.3
    return tuple(
        CpuSample(
            t_s=float(age_s),
            cpus=2,
            busy_us=round(age_s * 2e6 * (own_share + taken_share)),
            idle_us=round(age_s * 2e6 * (1 - own_share - taken_share)),
            steal_us=0,
            own_us=round(age_s * 2e6 * own_share),
            load_1m=2.0 * (own_share + taken_share),
        )
        for age_s in range(int(spec.duration_s) + 1)
    )


def build_samples(spec: Spec, behaviour: Behaviour) -> tuple[Sample, ...]:
    """Build one sample a second over warm-up and measured window, counters growing evenly."""
    first_s = -int(spec.warmup_s)
    last_s = round(spec.duration_s * behaviour.sampled_until_share)
    return tuple(_sample(spec, behaviour, t_s, t_s - first_s) for t_s in range(first_s, last_s + 1))


def _sample(spec: Spec, behaviour: Behaviour, t_s: int, age_s: int) -> Sample:
    lp_age_s = age_s
    if behaviour.lp_stops_at_s is not None:
        lp_age_s = min(age_s, int(behaviour.lp_stops_at_s + spec.warmup_s))
    lp_bytes = round(behaviour.lp_mib_s * MIB * lp_age_s)
    lp_ops_s = behaviour.lp_mib_s * 4 if behaviour.lp_ops_s is None else behaviour.lp_ops_s
    lp_ops = round(lp_ops_s * lp_age_s)
    fetches = round(spec.rate_rps * 24 * age_s) if behaviour.hp_reads else 0
    hp = PodSample(
        io={DEVICE: IoCounters(rbytes=fetches * 4096, wbytes=0, rios=fetches, wios=0)},
        io_pressure=IoPressure(some_us=age_s * 30_000),
        cpu_pressure=CpuPressure(some_us=round(age_s * 1e6 * behaviour.hp_cpu_wait_share)),
        cpu_usage_us=round(age_s * 1e6 * behaviour.hp_cpu_usage_share),
        throttled_us=round(age_s * 1e6 * behaviour.hp_throttled_share),
        io_weight=behaviour.hp_weight,
    )
    lp = PodSample(
        io={
            behaviour.lp_device: IoCounters(
                rbytes=lp_bytes // 2,
                wbytes=lp_bytes - lp_bytes // 2,
                rios=lp_ops // 2,
                wios=lp_ops - lp_ops // 2,
            )
        },
        cpu_pressure=CpuPressure(some_us=round(age_s * 1e6 * behaviour.lp_cpu_wait_share)),
        cpu_usage_us=age_s * 40_000,
        io_weight=behaviour.lp_weight,
    )
    queue_ms = round(behaviour.lp_mib_s * (1 if behaviour.iocost else 8))
    return Sample(
        t_s=float(t_s),
        pods={HP_POD: hp, **({LP_POD: lp} if behaviour.lp_pod else {})},
        slices={"kubepods.slice/kubepods-burstable.slice": behaviour.hp_weight},
        device={
            DEVICE: DeviceSample(
                reads=fetches + lp_ops // 2,
                read_ticks_ms=age_s * queue_ms,
                writes=lp_ops // 2,
                write_ticks_ms=age_s * queue_ms,
                in_flight=queue_ms // 50,
                io_ticks_ms=age_s * 900,
                queue_ticks_ms=age_s * queue_ms * 2,
                read_bytes=fetches * 4096 + lp_bytes // 2,
                write_bytes=lp_bytes // 2,
                scheduler=behaviour.scheduler,
            )
        },
        vrate_pct={DEVICE: behaviour.vrate_pct + (age_s % 4)} if behaviour.iocost else None,
        qos=f"{DEVICE} enable=1 ctrl=user rpct=0.00 rlat=5000 min=100.00 max=100.00"
        if behaviour.iocost
        else "",
        model=f"{DEVICE} ctrl=user model=linear rbps=131072000 rseqiops=6000" if behaviour.iocost else "",
        io_max={LP_POD: behaviour.lp_io_max} if behaviour.lp_io_max else {},
        controller=_account(behaviour) if behaviour.controller_state is not None else None,
        cpu=_node_cpu(age_s, behaviour.cpu_steal_share),
    )


def _node_cpu(age_s: int, steal_share: float | None) -> CpuCounters | None:
    """Build a look at a node of two CPUs, of which half of what is not stolen is idle."""
    if steal_share is None:
        return None
    left_us = age_s * 2e6 * (1 - steal_share)
    return CpuCounters(
        cpus=2,
        busy_us=round(left_us / 2),
        idle_us=round(left_us / 2),
        steal_us=round(age_s * 2e6 * steal_share),
    )


def _account(behaviour: Behaviour) -> JsonObject:
    """Build the controller's /status, as far as it is read."""
    return {
        "devices": [{"device": DEVICE, "state": behaviour.controller_state}],
        "pods": [{"name": HP_POD, "devices": [{"device": DEVICE, "effect": behaviour.controller_effect}]}],
    }
