"""The raw record of one run: everything that was read, before anything is concluded from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, cast, get_args

from experiments.errors import RecordError
from experiments.records.jsonfields import Field, JsonObject, JsonValue, read_document
from experiments.records.wholefile import write_json

RUN_SCHEMA: Final = "drcio.run/1"
LOAD_SCHEMA: Final = "drcio.load/1"
RUNS_FOLDER: Final = "runs"

Role = Literal["hp", "lp", "load", "other"]
Clock = Literal["real", "virtual"]

_HINT: Final = "the record is damaged or of another version; run the experiment again"
_FOLDER_HINT: Final = "give the folder that `python -m experiments run --output DIR` wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class IoCounters:
    """One device's line of a cgroup's `io.stat`, cumulative."""

    rbytes: int
    wbytes: int
    rios: int
    wios: int
    cost_wait_us: int | None = None
    """How long iocost held the cgroup's I/O back; absent while iocost is off."""
    cost_usage_us: int | None = None
    extra: Mapping[str, int] = field(default_factory=dict)
    """Whatever else the kernel printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSample:
    """One pod's cgroup at one moment; counters are cumulative as the kernel gives them."""

    io: Mapping[str, IoCounters] = field(default_factory=dict)
    """By device, "MAJ:MIN"."""
    io_some_us: int = 0
    io_full_us: int = 0
    cpu_some_us: int = 0
    """Time in which some task of the pod waited for a CPU (`cpu.pressure`)."""
    cpu_usage_us: int = 0
    throttled_us: int = 0
    """Time in which `cpu.max` held the pod back (`cpu.stat`)."""
    io_weight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSample:
    """One device's `/sys/block/*/stat`, cumulative, with the scheduler in use."""

    reads: int
    read_ticks_ms: int
    writes: int
    write_ticks_ms: int
    in_flight: int
    io_ticks_ms: int
    queue_ticks_ms: int
    read_bytes: int
    write_bytes: int
    scheduler: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSample:
    """What one machine's CPUs have done since it booted; times are cumulative, summed over its CPUs."""

    t_s: float
    """Since the measured load began, by the real clock; of a node's sample, the sample's own time."""
    cpus: int
    busy_us: int
    """Spent on programs and the kernel (`/proc/stat`), stolen time not included."""
    idle_us: int
    steal_us: int
    """Time in which a CPU had work and the machine beneath gave it to somebody else."""
    own_us: int | None = None
    """Of the busy time: spent by the experiment's own processes, the guest's included."""
    pressure_us: int | None = None
    """Time in which some task waited for a CPU (`/proc/pressure/cpu`); None where the kernel has none."""
    load_1m: float | None = None
    """The load average over the last minute (`/proc/loadavg`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Every knob and counter at one moment."""

    t_s: float
    """Since the measured load began; negative in the warm-up."""
    pods: Mapping[str, PodSample] = field(default_factory=dict)
    slices: Mapping[str, int] = field(default_factory=dict)
    """`io.weight` of the QoS slices, by path."""
    device: Mapping[str, DeviceSample] = field(default_factory=dict)
    vrate_pct: Mapping[str, float] | None = None
    """iocost's speed by device; nothing while iocost is off."""
    qos: str = ""
    """The root's `io.cost.qos` as read."""
    model: str = ""
    """The root's `io.cost.model` as read."""
    io_max: Mapping[str, str] = field(default_factory=dict)
    """`io.max` as read, by pod; empty where no limit is set."""
    controller: JsonObject | None = None
    """The controller's own account (`state`, last decision); nothing where it does not answer."""
    cpu: CpuSample | None = None
    """The CPUs of the node that the pods run on; None in records that do not have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """One latency's percentiles over the measured window; nothing where no request completed."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    histogram: str
    """HdrHistogram V2, base64, in microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadInterval:
    """What became of the requests that were scheduled in one second."""

    t_s: float
    count: int
    """Answered, however late."""
    errors: int
    latency_histogram: str
    timings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRecord:
    """What the load generator says of its run (`drcio.load/1`)."""

    plan: JsonObject
    planned: int
    sent: int
    completed: int
    errors: Mapping[str, int]
    """Failed requests by kind."""
    offered_rps: float
    achieved_rps: float
    lag_p99_ms: float
    """How late requests left against their own schedule."""
    lag_max_ms: float
    fell_behind: bool
    latency: LatencySummary
    timings: Mapping[str, LatencySummary]
    """What the service reports of its own parts, by name: `fetch` is its reads from disk."""
    intervals: tuple[LoadInterval, ...]

    @property
    def failed(self) -> int:
        return sum(self.errors.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class PodInfo:
    """What a pod was during the run."""

    qos_class: str
    priority: str | None
    role: Role
    restarts: int
    """During this run only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """The devices, "MAJ:MIN", behind each workload's files."""

    hp: tuple[str, ...]
    lp: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the load, warm-up included, lasted by the node's clock and by that of the machine under it."""

    guest_s: float
    host_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run of one scenario, as it was read."""

    scenario: str
    policy: str
    repeat: int
    order: int
    started_unix_s: float
    warmup_s: float
    duration_s: float
    environment: JsonObject
    load: LoadRecord
    samples: tuple[Sample, ...]
    devices: Devices
    lp_summary: JsonObject | None
    """The batch job's own summary, over its whole life (warm-up included)."""
    pods: Mapping[str, PodInfo]
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    clock: Clock = "real"
    """What the run's times are of: virtual is a guest's clock that counts instructions."""
    host: tuple[CpuSample, ...] = ()
    """The machine that the node runs on, once a second; empty where it was not or cannot be looked at."""
    cost: Cost | None = None
    """None of a cluster, and of records made before the twin had a clock of its own."""

    @property
    def file_name(self) -> str:
        return f"{self.order:02d}-{self.scenario}-r{self.repeat}.json"

    def pods_of(self, role: Role) -> tuple[str, ...]:
        return tuple(name for name, pod in self.pods.items() if pod.role == role)


def write_run(directory: Path, record: RunRecord) -> Path:
    """Store a record under `directory`/runs, whole or not at all."""
    folder = directory / RUNS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return write_json(folder / record.file_name, dump_run(record), compact=True)


def read_run(path: Path) -> RunRecord:
    """Read one record; raises RecordError naming the file and the field that is wrong."""
    return load_run(read_document(path, schema=RUN_SCHEMA, hint=_HINT))


def read_runs(directory: Path) -> tuple[RunRecord, ...]:
    """Read all records of an experiment in the order in which they were made.

    Raises RecordError where there is none, or where one is damaged.
    """
    folder = directory / RUNS_FOLDER
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise RecordError(f"{folder}: no run records; expected NN-SCENARIO-rK.json", hint=_FOLDER_HINT)
    return tuple(sorted((read_run(path) for path in paths), key=lambda record: record.order))


def dump_run(record: RunRecord) -> JsonObject:
    """Turn a record into its JSON form (`drcio.run/1`)."""
    return {
        "schema": RUN_SCHEMA,
        "scenario": record.scenario,
        "policy": record.policy,
        "repeat": record.repeat,
        "order": record.order,
        "started_unix_s": record.started_unix_s,
        "warmup_s": record.warmup_s,
        "duration_s": record.duration_s,
        "interrupted": record.interrupted,
        "clock": record.clock,
        "notes": list(record.notes),
        "environment": record.environment,
        "devices": {"hp": list(record.devices.hp), "lp": list(record.devices.lp)},
        "pods": {
            name: {
                "qos_class": pod.qos_class,
                "priority": pod.priority,
                "role": pod.role,
                "restarts": pod.restarts,
            }
            for name, pod in record.pods.items()
        },
        "lp_summary": record.lp_summary,
        **(
            {}
            if record.cost is None
            else {"cost": {"guest_s": record.cost.guest_s, "host_s": record.cost.host_s}}
        ),
        "load": dump_load(record.load),
        "samples": [_dump_sample(sample) for sample in record.samples],
        "host": [{"t_s": seen.t_s, **dump_cpu(seen)} for seen in record.host],
    }


def load_run(document: Field) -> RunRecord:
    """Read a record from its JSON form; unknown fields are passed over, known ones are checked."""
    lp_summary, host = document.find("lp_summary"), document.find("host")
    cost = document.find("cost")
    return RunRecord(
        scenario=document.get("scenario").text(),
        policy=document.get("policy").text(),
        repeat=document.get("repeat").count(),
        order=document.get("order").count(),
        started_unix_s=document.get("started_unix_s").unix_s(),
        warmup_s=document.get("warmup_s").number(),
        duration_s=document.get("duration_s").positive(),
        interrupted=document.get("interrupted").flag(),
        clock=_load_clock(document.find("clock")),
        notes=document.get("notes").texts(),
        environment=document.get("environment").object(),
        devices=Devices(
            hp=document.get("devices").get("hp").texts(), lp=document.get("devices").get("lp").texts()
        ),
        pods={name: _load_pod_info(pod) for name, pod in document.get("pods").entries().items()},
        lp_summary=None if lp_summary is None else lp_summary.object(),
        cost=None
        if cost is None
        else Cost(guest_s=cost.get("guest_s").positive(), host_s=cost.get("host_s").positive()),
        load=load_load(document.get("load")),
        samples=tuple(_load_sample(sample) for sample in document.get("samples").items()),
        host=tuple(_load_cpu(seen, seen.get("t_s").number()) for seen in host.items()) if host else (),
    )


def dump_load(load: LoadRecord) -> JsonObject:
    """Turn the load generator's record into its JSON form (`drcio.load/1`)."""
    return {
        "schema": LOAD_SCHEMA,
        "plan": load.plan,
        "planned": load.planned,
        "sent": load.sent,
        "completed": load.completed,
        "errors": dict(load.errors),
        "offered_rps": load.offered_rps,
        "achieved_rps": load.achieved_rps,
        "lag_p99_ms": load.lag_p99_ms,
        "lag_max_ms": load.lag_max_ms,
        "fell_behind": load.fell_behind,
        "latency": _dump_latency(load.latency),
        "timings": {name: _dump_latency(timing) for name, timing in load.timings.items()},
        "intervals": [
            {
                "t_s": interval.t_s,
                "count": interval.count,
                "errors": interval.errors,
                "latency_histogram": interval.latency_histogram,
                "timings": dict(interval.timings),
            }
            for interval in load.intervals
        ],
    }


def load_load(document: Field) -> LoadRecord:
    """Read the load generator's record, as it writes it itself."""
    schema = document.get("schema")
    if schema.value != LOAD_SCHEMA:
        raise schema.refuse(json.dumps(LOAD_SCHEMA))
    return LoadRecord(
        plan=document.get("plan").object(),
        planned=document.get("planned").count(),
        sent=document.get("sent").count(),
        completed=document.get("completed").count(),
        errors={kind: count.count() for kind, count in document.get("errors").entries().items()},
        offered_rps=document.get("offered_rps").number(),
        achieved_rps=document.get("achieved_rps").number(),
        lag_p99_ms=_number_or(document, "lag_p99_ms", 0.0),
        lag_max_ms=_number_or(document, "lag_max_ms", 0.0),
        fell_behind=document.get("fell_behind").flag(),
        latency=_load_latency(document.get("latency")),
        timings={name: _load_latency(timing) for name, timing in document.get("timings").entries().items()},
        intervals=tuple(
            LoadInterval(
                t_s=interval.get("t_s").number(),
                count=interval.get("count").count(),
                errors=interval.get("errors").count(),
                latency_histogram=_text_or_empty(interval, "latency_histogram"),
                timings={name: encoded.text() for name, encoded in interval.get("timings").entries().items()},
            )
            for interval in document.get("intervals").items()
        ),
    )


def _dump_latency(latency: LatencySummary) -> JsonObject:
    return {
        "p50_ms": latency.p50_ms,
        "p95_ms": latency.p95_ms,
        "p99_ms": latency.p99_ms,
        "max_ms": latency.max_ms,
        "histogram": latency.histogram,
    }


def _load_latency(document: Field) -> LatencySummary:
    return LatencySummary(
        p50_ms=_number_or_none(document, "p50_ms"),
        p95_ms=_number_or_none(document, "p95_ms"),
        p99_ms=_number_or_none(document, "p99_ms"),
        max_ms=_number_or_none(document, "max_ms"),
        histogram=_text_or_empty(document, "histogram"),
    )


def _load_pod_info(document: Field) -> PodInfo:
    role = document.get("role")
    if role.value not in get_args(Role):
        raise role.refuse(f"one of {', '.join(get_args(Role))}")
    priority = document.find("priority")
    return PodInfo(
        qos_class=document.get("qos_class").text(),
        priority=None if priority is None else priority.text(),
        role=cast(Role, role.value),
        restarts=document.get("restarts").count(),
    )


def dump_cpu(seen: CpuSample) -> JsonObject:
    """Turn a look at a machine's CPUs into its JSON form, without its time."""
    return {
        "cpus": seen.cpus,
        "busy_us": seen.busy_us,
        "idle_us": seen.idle_us,
        "steal_us": seen.steal_us,
        "own_us": seen.own_us,
        "pressure_us": seen.pressure_us,
        "load_1m": seen.load_1m,
    }


def _load_cpu(document: Field, t_s: float) -> CpuSample:
    own, pressure = document.find("own_us"), document.find("pressure_us")
    return CpuSample(
        t_s=t_s,
        cpus=document.get("cpus").count(),
        busy_us=document.get("busy_us").count(),
        idle_us=document.get("idle_us").count(),
        steal_us=document.get("steal_us").count(),
        own_us=None if own is None else own.count(),
        pressure_us=None if pressure is None else pressure.count(),
        load_1m=_number_or_none(document, "load_1m"),
    )


def _load_clock(document: Field | None) -> Clock:
    """Read which clock a run had; records from before there was a choice had the real one."""
    if document is None:
        return "real"
    if document.value not in get_args(Clock):
        raise document.refuse(f"one of {', '.join(get_args(Clock))}")
    return cast(Clock, document.value)


def _dump_sample(sample: Sample) -> JsonObject:
    return {
        "t_s": sample.t_s,
        "pods": {name: _dump_pod_sample(pod) for name, pod in sample.pods.items()},
        "slices": dict(sample.slices),
        "device": {
            name: {
                "reads": device.reads,
                "read_ticks_ms": device.read_ticks_ms,
                "writes": device.writes,
                "write_ticks_ms": device.write_ticks_ms,
                "in_flight": device.in_flight,
                "io_ticks_ms": device.io_ticks_ms,
                "queue_ticks_ms": device.queue_ticks_ms,
                "read_bytes": device.read_bytes,
                "write_bytes": device.write_bytes,
                "scheduler": device.scheduler,
            }
            for name, device in sample.device.items()
        },
        "vrate_pct": None if sample.vrate_pct is None else dict(sample.vrate_pct),
        "qos": sample.qos,
        "model": sample.model,
        "io_max": dict(sample.io_max),
        "controller": sample.controller,
        "cpu": None if sample.cpu is None else dump_cpu(sample.cpu),
    }


def _dump_pod_sample(pod: PodSample) -> JsonObject:
    return {
        "io": {device: _dump_io(counters) for device, counters in pod.io.items()},
        "io_pressure": {"some_us": pod.io_some_us, "full_us": pod.io_full_us},
        "cpu_pressure": {"some_us": pod.cpu_some_us},
        "cpu_usage_us": pod.cpu_usage_us,
        "throttled_us": pod.throttled_us,
        "io_weight": pod.io_weight,
    }


def _dump_io(counters: IoCounters) -> JsonObject:
    dumped: dict[str, JsonValue] = {
        "rbytes": counters.rbytes,
        "wbytes": counters.wbytes,
        "rios": counters.rios,
        "wios": counters.wios,
    }
    if counters.cost_wait_us is not None:
        dumped["cost_wait_us"] = counters.cost_wait_us
    if counters.cost_usage_us is not None:
        dumped["cost_usage_us"] = counters.cost_usage_us
    return {**dumped, **counters.extra}


_IO_FIELDS: Final = frozenset(("rbytes", "wbytes", "rios", "wios", "cost_wait_us", "cost_usage_us"))


def _load_io(document: Field) -> IoCounters:
    wait, usage = document.find("cost_wait_us"), document.find("cost_usage_us")
    return IoCounters(
        rbytes=document.get("rbytes").count(),
        wbytes=document.get("wbytes").count(),
        rios=document.get("rios").count(),
        wios=document.get("wios").count(),
        cost_wait_us=None if wait is None else wait.count(),
        cost_usage_us=None if usage is None else usage.count(),
        extra={name: value.integer() for name, value in document.entries().items() if name not in _IO_FIELDS},
    )


def _load_sample(document: Field) -> Sample:
    vrate, controller, cpu = (document.find(name) for name in ("vrate_pct", "controller", "cpu"))
    t_s = document.get("t_s").number()
    return Sample(
        t_s=t_s,
        pods={name: _load_pod_sample(pod) for name, pod in document.get("pods").entries().items()},
        slices={path: weight.count() for path, weight in document.get("slices").entries().items()},
        device={name: _load_device(entry) for name, entry in document.get("device").entries().items()},
        vrate_pct=(
            None if vrate is None else {name: entry.number() for name, entry in vrate.entries().items()}
        ),
        qos=document.get("qos").text(),
        model=document.get("model").text(),
        io_max={name: text.text() for name, text in document.get("io_max").entries().items()},
        controller=None if controller is None else controller.object(),
        cpu=None if cpu is None else _load_cpu(cpu, t_s),
    )


def _load_pod_sample(document: Field) -> PodSample:
    weight = document.find("io_weight")
    return PodSample(
        io={device: _load_io(entry) for device, entry in document.get("io").entries().items()},
        io_some_us=document.get("io_pressure").get("some_us").count(),
        io_full_us=document.get("io_pressure").get("full_us").count(),
        cpu_some_us=document.get("cpu_pressure").get("some_us").count(),
        cpu_usage_us=document.get("cpu_usage_us").count(),
        throttled_us=document.get("throttled_us").count(),
        io_weight=None if weight is None else weight.count(),
    )


def _load_device(document: Field) -> DeviceSample:
    return DeviceSample(
        reads=document.get("reads").count(),
        read_ticks_ms=document.get("read_ticks_ms").count(),
        writes=document.get("writes").count(),
        write_ticks_ms=document.get("write_ticks_ms").count(),
        in_flight=document.get("in_flight").count(),
        io_ticks_ms=document.get("io_ticks_ms").count(),
        queue_ticks_ms=document.get("queue_ticks_ms").count(),
        read_bytes=document.get("read_bytes").count(),
        write_bytes=document.get("write_bytes").count(),
        scheduler=document.get("scheduler").text(),
    )


def _number_or(document: Field, name: str, default: float) -> float:
    found = document.find(name)
    return default if found is None else found.number()


def _number_or_none(document: Field, name: str) -> float | None:
    found = document.find(name)
    return None if found is None else found.number()


def _text_or_empty(document: Field, name: str) -> str:
    found = document.find(name)
    return "" if found is None else found.text()
