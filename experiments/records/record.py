"""The raw record of one run: everything that was read, before anything is concluded from it.

The classes are the format: a field is a key of `drcio.run/1`, by the same name.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from experiments.errors import RecordError
from experiments.records.jsonfields import Counters, Field, JsonObject, dump, read_document
from experiments.records.values import Count, Number, Positive, UnixS
from experiments.records.wholefile import write_json
from load_generator.document import LoadDocument

RUN_SCHEMA: Final = "drcio.run/1"
OWN_RUN_SCHEMA: Final = "drcio.own-run/1"
"""Of runs of a user's own pods (`experiments.records.own`), which lie in a folder of the same name."""
RUNS_FOLDER: Final = "runs"

Role = Literal["hp", "lp", "load", "other"]
Clock = Literal["real", "virtual"]

_HINT: Final = "the record is damaged or of another version; run the experiment again"
_FOLDER_HINT: Final = "give the folder that `python -m experiments run --output DIR` wrote"


class IoCounters(Counters):
    """One device's line of a cgroup's `io.stat`, cumulative; what else the kernel printed is kept."""

    required = ("rbytes", "wbytes", "rios", "wios")

    @property
    def rbytes(self) -> int:
        return self["rbytes"]

    @property
    def wbytes(self) -> int:
        return self["wbytes"]

    @property
    def rios(self) -> int:
        return self["rios"]

    @property
    def wios(self) -> int:
        return self["wios"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IoPressure:
    """A pod's `io.pressure`: time in which some, or all, of its tasks waited for I/O."""

    some_us: Count = 0
    full_us: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuPressure:
    """A pod's `cpu.pressure`: time in which some task of it waited for a CPU."""

    some_us: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSample:
    """One pod's cgroup at one moment; counters are cumulative as the kernel gives them."""

    io: Mapping[str, IoCounters] = field(default_factory=dict)
    """By device, "MAJ:MIN"."""
    io_pressure: IoPressure = field(default_factory=IoPressure)
    cpu_pressure: CpuPressure = field(default_factory=CpuPressure)
    cpu_usage_us: Count = 0
    throttled_us: Count = 0
    """Time in which `cpu.max` held the pod back (`cpu.stat`)."""
    io_weight: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSample:
    """One device's `/sys/block/*/stat`, cumulative, with the scheduler in use."""

    reads: Count
    read_ticks_ms: Count
    writes: Count
    write_ticks_ms: Count
    in_flight: Count
    io_ticks_ms: Count
    queue_ticks_ms: Count
    read_bytes: Count
    write_bytes: Count
    scheduler: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuCounters:
    """What one machine's CPUs have done since it booted; times are cumulative, summed over its CPUs."""

    cpus: Count
    busy_us: Count
    """Spent on programs and the kernel (`/proc/stat`), stolen time not included."""
    idle_us: Count
    steal_us: Count
    """Time in which a CPU had work and the machine beneath gave it to somebody else."""
    own_us: Count | None = None
    """Of the busy time: spent by the experiment's own processes, the guest's included."""
    pressure_us: Count | None = None
    """Time in which some task waited for a CPU (`/proc/pressure/cpu`); None where the kernel has none."""
    load_1m: Number | None = None
    """The load average over the last minute (`/proc/loadavg`)."""

    def at(self, t_s: float) -> CpuSample:
        """Return the same with the time of the look, which a node's sample has itself."""
        return CpuSample(t_s=t_s, **dataclasses.asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSample(CpuCounters):
    """A look at one machine's CPUs."""

    t_s: Number
    """Since the measured load began, by the real clock; of a node's sample, the sample's own time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Every knob and counter at one moment."""

    t_s: Number
    """Since the measured load began; negative in the warm-up."""
    pods: Mapping[str, PodSample] = field(default_factory=dict)
    slices: Mapping[str, Count] = field(default_factory=dict)
    """`io.weight` of the QoS slices, by path."""
    device: Mapping[str, DeviceSample] = field(default_factory=dict)
    vrate_pct: Mapping[str, Number] | None = None
    """iocost's speed by device; None while iocost is off."""
    qos: str = ""
    """The root's `io.cost.qos` as read."""
    model: str = ""
    """The root's `io.cost.model` as read."""
    io_max: Mapping[str, str] = field(default_factory=dict)
    """`io.max` as read, by pod; empty where no limit is set."""
    controller: JsonObject | None = None
    """The controller's own account (`state`, last decision); None where it does not answer."""
    cpu: CpuCounters | None = None
    """The CPUs of the node that the pods run on; None in records that do not have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodInfo:
    """What a pod was during the run."""

    qos_class: str
    priority: str | None
    role: Role
    restarts: Count
    """During this run only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """The devices, "MAJ:MIN", behind each workload's files."""

    hp: tuple[str, ...]
    lp: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the load, warm-up included, lasted by the node's clock and by that of the machine under it."""

    guest_s: Positive
    host_s: Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run of one scenario, as it was read."""

    schema: Literal["drcio.run/1"] = RUN_SCHEMA
    scenario: str
    policy: str
    repeat: Count
    order: Count
    started_unix_s: UnixS
    warmup_s: Number
    duration_s: Positive
    environment: JsonObject
    load: LoadDocument
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
    if schema_of(paths[0]) == OWN_RUN_SCHEMA:
        raise RecordError(
            f"{folder}: holds runs of own pods (made with --workloads), which are measured, not judged; "
            "expected runs of ours",
            hint=f"`python -m experiments report {directory}` shows them",
        )
    records = {path: read_run(path) for path in paths}
    for path, record in records.items():
        if record.file_name != path.name:
            raise RecordError(
                f"{path}: holds the run of {record.file_name}; expected its own name", hint=_HINT
            )
    return tuple(sorted(records.values(), key=lambda record: record.order))


def schema_of(path: Path) -> str | None:
    """Return the schema that a JSON file names; None where it names none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document.get("schema") if isinstance(document, dict) else None


def dump_run(record: RunRecord) -> JsonObject:
    """Return a record's JSON form (`drcio.run/1`)."""
    document = dump(record)
    return {name: value for name, value in document.items() if (name, value) != ("cost", None)}


def load_run(document: Field) -> RunRecord:
    """Read a record from its JSON form; unknown fields are passed over, known ones are checked."""
    return document.convert(RunRecord)
