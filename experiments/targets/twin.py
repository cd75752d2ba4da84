"""Run the scenarios on a node twin: one boot for all of them, the service up throughout."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import httpx

from drcio_controller.manifest import PORT as CONTROLLER_PORT
from experiments import workloads
from experiments.jsonfields import Field, JsonObject, JsonValue
from experiments.record import RunRecord, load_run
from experiments.spec import PlannedRun, Spec
from experiments.targets import Progress
from experiments.targets.node import READY_TIMEOUT_S, Node
from experiments.twin.errors import TwinError
from experiments.twin.layout import NAMESPACE, NODE_NAME, PODS_FOLDER
from experiments.twin.session import KvmChoice, Twin, TwinConfig, running
from experiments.twin.volume import VolumeRequest
from hp_service.manifest import PORT as HP_PORT
from load_generator.plan import Plan
from load_generator.run import Progress as LoadProgress
from load_generator.run import generate
from load_generator.schedule import Arrivals
from lp_batch.manifest import METRICS_PORT as LP_PORT

LP_FILE_SIZE: Final = "512MiB"
_MIN_VOLUME_BYTES: Final = 2 << 30
_BARE_VOLUME_BYTES: Final = 4 << 30
_LP_FLOWING_BYTES: Final = 8 << 20
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class TwinOptions:
    """What is particular to measuring on a twin."""

    output: Path
    cache: Path
    kvm: KvmChoice = "auto"
    memory_mib: int = 4096
    tell_controller_volume: bool = True
    """Give the controller the volume's profile; without it, it has to find the limits itself."""
    lp_idle: bool = False
    """Leave the batch job out where the scenario has one: such a run must be judged invalid."""
    lp_elsewhere: bool = False
    """Put the batch job on a volume of its own: such a run must be judged invalid."""


@contextlib.contextmanager
def twin_target(spec: Spec, options: TwinOptions, progress: Progress) -> Iterator[TwinTarget]:
    """Prepare the data, boot a twin, start the service, and yield the target."""
    contents = prepare_volume(options.cache / "volume", progress)
    size = max(
        _MIN_VOLUME_BYTES, 2 * sum(file.stat().st_size for file in contents.rglob("*") if file.is_file())
    )
    volumes = [
        VolumeRequest(claim=workloads.DATA_CLAIM, limits=spec.volume, size_bytes=size, contents=contents)
    ]
    if options.lp_elsewhere:
        volumes.append(
            VolumeRequest(claim=workloads.OTHER_CLAIM, limits=spec.volume, size_bytes=_MIN_VOLUME_BYTES)
        )
    config = TwinConfig(
        output=options.output,
        cache=options.cache / "twin",
        volumes=volumes,
        published_ports=(HP_PORT, CONTROLLER_PORT, LP_PORT),
        kvm=options.kvm,
        memory_mib=options.memory_mib,
    )
    with running(config, tell=progress.doing) as twin:
        service = workloads.service(namespace=NAMESPACE, node=NODE_NAME)
        twin.create_pod(service.manifest)
        progress.doing("starting the scoring service" + ("" if twin.kvm else " (emulated: about a minute)"))
        twin.wait_ready(service.name, timeout_s=READY_TIMEOUT_S)
        yield TwinTarget(spec, options, twin, contents)


def bare_twin(spec: Spec, options: TwinOptions) -> TwinConfig:
    """Return a twin with one empty volume and none of our pods."""
    return TwinConfig(
        output=options.output,
        cache=options.cache / "twin",
        volumes=[
            VolumeRequest(claim=workloads.DATA_CLAIM, limits=spec.volume, size_bytes=_BARE_VOLUME_BYTES)
        ],
        published_ports=(CONTROLLER_PORT,),
        kvm=options.kvm,
        memory_mib=options.memory_mib,
    )


def prepare_volume(folder: Path, progress: Progress) -> Path:
    """Have the images' own `prepare` commands fill a folder that becomes the volume; both are idempotent."""
    progress.doing("preparing the service's data and model (once; a minute or two)")
    _prepare(["hp_service", "prepare", f"--data={folder / 'hp'}"])
    progress.doing("preparing the batch job's files (once)")
    _prepare(["lp_batch", "prepare", f"--dir={folder / 'lp'}", f"--file-size={LP_FILE_SIZE}"])
    return folder


def _prepare(command: Sequence[str]) -> None:
    module, *arguments = command
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-6:])
        raise TwinError(f"`{' '.join(command)}` failed with status {done.returncode}:\n{tail}")


class TwinTarget:
    """A booted twin with the service ready on it."""

    def __init__(self, spec: Spec, options: TwinOptions, twin: Twin, contents: Path) -> None:
        self.twin = twin
        self._spec = spec
        self._options = options
        self.ids_max = _ids_max(contents)
        """The service knows the ids from 0 to below this."""
        self.node = Node(twin, spec.volume, tell_controller_volume=options.tell_controller_volume)
        self._environment = self._describe()

    def with_options(self, *, spec: Spec | None = None, **changes: bool) -> TwinTarget:
        """Return the same booted twin under another specification or other options.

        Only what does not change the boot may differ: not the volumes, not the memory.
        """
        other = copy.copy(self)
        other._spec = spec or self._spec
        other._options = dataclasses.replace(self._options, **changes)  # type: ignore[arg-type]  # flags only
        return other

    def run(self, planned: PlannedRun, progress: Progress) -> RunRecord:
        """Make one run: a clean node, then controller and batch job, then load; and clean up."""
        progress.doing("emptying caches and queues")
        notes = self.node.clean()
        service = workloads.service(namespace=NAMESPACE, node=NODE_NAME)
        present = {service.name: service}
        progress.doing("starting the pods of this scenario")
        try:
            for workload in self._arm(planned):
                present[workload.name] = workload
                self.twin.create_pod(workload.manifest)
            self._wait_for_arm(present)
            restarts_before = self._restarts(present)
            return self._measure(planned, present, restarts_before, notes, progress)
        finally:
            progress.doing("stopping the pods of this scenario")
            for name in (workloads.LP_POD, workloads.CONTROLLER_POD):
                if name in present:
                    self.twin.delete_pod(name)

    def _arm(self, planned: PlannedRun) -> list[workloads.Workload]:
        controller = self.node.controller(planned.scenario.policy)
        arm = [controller] if controller is not None else []
        if planned.scenario.with_lp and not self._options.lp_idle:
            claim = workloads.OTHER_CLAIM if self._options.lp_elsewhere else workloads.DATA_CLAIM
            arm.append(
                workloads.batch_job(
                    self._spec, namespace=NAMESPACE, node=NODE_NAME, file_size=LP_FILE_SIZE, claim=claim
                )
            )
        return arm

    def _wait_for_arm(self, present: Mapping[str, workloads.Workload]) -> None:
        if workloads.CONTROLLER_POD in present:
            self.twin.wait_ready(workloads.CONTROLLER_POD, timeout_s=READY_TIMEOUT_S)
        if workloads.LP_POD not in present:
            return
        deadline = time.monotonic() + READY_TIMEOUT_S
        while self._lp_bytes() < _LP_FLOWING_BYTES:
            pod = self.twin.pod(workloads.LP_POD)
            if pod is None or _phase(pod) in ("Failed", "Succeeded") or time.monotonic() > deadline:
                raise TwinError(
                    "the batch job does no I/O\n" + self.twin.log(workloads.LP_POD, tail_lines=15)
                )
            time.sleep(0.5)

    def _lp_bytes(self) -> int:
        sample = self.twin.latest_sample()
        if sample is None:
            return 0
        pods = cast("Mapping[str, Mapping[str, Mapping[str, Mapping[str, int]]]]", sample["pods"])
        io = pods.get(workloads.LP_POD, {}).get("io", {})
        return sum(counters["rbytes"] + counters["wbytes"] for counters in io.values())

    def _measure(
        self,
        planned: PlannedRun,
        present: Mapping[str, workloads.Workload],
        restarts_before: Mapping[str, int],
        notes: list[str],
        progress: Progress,
    ) -> RunRecord:
        first_sample = self.twin.sample_count()
        offset_s = self.twin.clock_offset_s()
        started_unix_s, started_s = time.time(), time.monotonic()
        total_s = self._spec.warmup_s + self._spec.duration_s

        def show(load: LoadProgress) -> None:
            self.twin.guest.check()
            progress.within_run(min(time.monotonic() - started_s, total_s), total_s)

        progress.doing("measuring")
        plan = Plan(
            url=self.twin.url(HP_PORT) + "/score",
            rate_rps=self._spec.rate_rps,
            duration_s=self._spec.duration_s,
            warmup_s=self._spec.warmup_s,
            seed=planned.load_seed,
            arrivals=Arrivals(self._spec.arrivals),
            ids_max=self.ids_max,
            timeout_s=_TIMEOUT_S,
        )
        load_began_s, load = time.monotonic(), generate(plan, on_progress=show).to_json()
        time.sleep(1.0)  # the sample that closes the window
        samples = self.twin.samples_since(first_sample)
        window_start_s = load_began_s + self._spec.warmup_s - offset_s
        pods = {
            name: {
                "qos_class": _status_text(self.twin.pod(name), "qosClass"),
                "priority": _labels(workload.manifest).get("drcio.io/priority"),
                "role": workload.role,
                "restarts": self._restarts({name: workload})[name] - restarts_before[name],
            }
            for name, workload in present.items()
        }
        devices = cast("Mapping[str, str]", self._environment["device_of_claim"])
        lp_claim = workloads.OTHER_CLAIM if self._options.lp_elsewhere else workloads.DATA_CLAIM
        document: JsonObject = {
            "schema": "drcio.run/1",
            "scenario": planned.scenario.name,
            "policy": planned.scenario.policy,
            "repeat": planned.repeat,
            "order": planned.order,
            "started_unix_s": started_unix_s,
            "warmup_s": self._spec.warmup_s,
            "duration_s": self._spec.duration_s,
            "interrupted": False,
            "notes": notes,
            "environment": self._environment,
            "devices": {"hp": [devices[workloads.DATA_CLAIM]], "lp": [devices[lp_claim]]},
            "pods": pods,
            "lp_summary": self._stop_lp(present),
            "load": load,
            "samples": [
                {**sample, "t_s": round(cast(float, sample["t_s"]) - window_start_s, 3)} for sample in samples
            ],
        }
        return load_run(Field(document, "", "the run just made", "this is a defect of the twin target"))

    def _stop_lp(self, present: Mapping[str, workloads.Workload]) -> JsonObject | None:
        """Stop the batch job and return the summary that it leaves as its last line."""
        if workloads.LP_POD not in present:
            return None
        self.twin.delete_pod(workloads.LP_POD)
        logs = (self._options.output / PODS_FOLDER).glob(f"*_{workloads.LP_POD}_*/*/*.log")
        newest = max(logs, key=lambda path: path.stat().st_mtime_ns, default=None)
        for line in reversed(newest.read_text(errors="replace").splitlines() if newest else []):
            with contextlib.suppress(ValueError):
                summary = json.loads(line)
                if isinstance(summary, dict):
                    return cast(JsonObject, summary)
        return None

    def _restarts(self, present: Mapping[str, workloads.Workload]) -> dict[str, int]:
        counts = {}
        for name in present:
            status = cast(
                "Mapping[str, Sequence[Mapping[str, int]]]", (self.twin.pod(name) or {}).get("status", {})
            )
            counts[name] = sum(entry.get("restartCount", 0) for entry in status.get("containerStatuses", ()))
        return counts

    def _describe(self) -> JsonObject:
        guest = self.twin.environment()
        ready = self._service_detail()
        return {
            "commit": _commit(),
            "target": "twin",
            "accelerator": self.twin.accelerator,
            "cpus": guest["cpus"],
            "kernel": guest["kernel"],
            "volume": {"iops": self._spec.volume.iops, "mib_s": self._spec.volume.mib_s},
            "volume_in_memory": self.twin.volume_in_memory,
            "scheduler": guest["scheduler"],
            "device_of_claim": guest["device_of_claim"],
            "read_path": ready.get("read_path"),
            "profile_given": self._options.tell_controller_volume,
        }

    def _service_detail(self) -> Mapping[str, JsonValue]:
        return cast(
            "Mapping[str, JsonValue]", httpx.get(self.twin.url(HP_PORT) + "/readyz", timeout=30).json()
        )


def _ids_max(contents: Path) -> int:
    return int(json.loads((contents / "hp" / "metadata.json").read_text())["graph"]["reviews"])


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _labels(manifest: JsonObject) -> Mapping[str, str]:
    return cast("Mapping[str, Mapping[str, Mapping[str, str]]]", manifest)["metadata"].get("labels", {})


def _phase(pod: JsonObject) -> str:
    return _status_text(pod, "phase")


def _status_text(pod: JsonObject | None, key: str) -> str:
    return str(cast("Mapping[str, JsonValue]", (pod or {}).get("status", {})).get(key, ""))
