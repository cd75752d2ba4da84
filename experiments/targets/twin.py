"""Run the scenarios on a node twin: one boot for all of them, the service up throughout."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, cast

import httpx

from drcio_controller.manifest import PORT as CONTROLLER_PORT
from experiments import workloads
from experiments.metrics.scraped import keep_pages
from experiments.records.jsonfields import Field, JsonObject, JsonValue
from experiments.records.record import RunRecord, load_run
from experiments.records.spec import PlannedRun, Spec
from experiments.targets import Progress
from experiments.targets.node import READY_TIMEOUT_S, Node
from hp_service.manifest import PORT as HP_PORT
from load_generator.plan import Plan
from load_generator.schedule import Arrivals
from lp_batch.manifest import METRICS_PORT as LP_PORT
from node_twin.cpustat import HostWatch
from node_twin.errors import TwinError
from node_twin.host.kernel import DEFAULT_KERNEL
from node_twin.host.prepare import KvmChoice, TwinConfig, prepared
from node_twin.host.session import INSTRUCTIONS_PER_S, booting
from node_twin.host.twin import Twin
from node_twin.layout import NAMESPACE, NODE_NAME, PODS_FOLDER
from node_twin.podstatus import restarts_of
from node_twin.volume.image import VolumeRequest

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
    kernel: str = DEFAULT_KERNEL
    memory_mib: int = 4096
    give_controller_volume: bool = True
    """Give the controller the volume's profile; without it, it has to find the limits itself."""
    scrape: bool = False
    """Keep the metrics pages of the node's pods, for Prometheus."""
    lp_idle: bool = False
    """Leave the batch job out where the scenario has one: such a run must be judged invalid."""
    lp_elsewhere: bool = False
    """Put the batch job on a volume of its own: such a run must be judged invalid."""


@contextlib.contextmanager
def twin_target(spec: Spec, options: TwinOptions, progress: Progress) -> Iterator[TwinTarget]:
    """Prepare the data, boot a twin, start the service, and yield the target."""
    with twin_targets(spec, options, [progress]) as (target,):
        yield target


@contextlib.contextmanager
def twin_targets(spec: Spec, options: TwinOptions, lanes: Sequence[Progress]) -> Iterator[list[TwinTarget]]:
    """Yield a twin for each lane, all of them booted at once; with KVM, one: they would share its time.

    What the first one writes lies in the output folder itself, the others' in its `guest-N`.
    """
    with filling_volume(options.cache / "volume", lanes[0]) as filled:
        # No volume is needed to fetch a kernel and to compile.
        ground = prepared(bare_twin(spec, options), report=lanes[-1].doing)
        contents = filled()
    with contextlib.ExitStack() as stack:
        boots = []
        for number, lane in enumerate(lanes, start=1):
            output = options.output if number == 1 else options.output / f"guest-{number}"
            own = dataclasses.replace(options, output=output)
            config = _twin_with_data(spec, own, contents)
            boots.append((own, lane, stack.enter_context(booting(config, ground=ground, report=lane.doing))))
            if boots[0][2].kvm:
                break
        service = workloads.service(namespace=NAMESPACE, node=NODE_NAME)
        twins = []
        for own, lane, boot in boots:
            twin = boot.up()
            twin.create_pod(service.manifest)
            lane.doing("starting the scoring service" + ("" if twin.kvm else " (emulated: a minute or two)"))
            twins.append((own, twin))
        for _, twin in twins:
            twin.wait_ready(service.name, timeout_s=READY_TIMEOUT_S)
        yield [TwinTarget(spec, own, twin, contents) for own, twin in twins]


def _twin_with_data(spec: Spec, options: TwinOptions, contents: Path) -> TwinConfig:
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
    return _twin_config(options, volumes, (HP_PORT, CONTROLLER_PORT, LP_PORT))


def bare_twin(spec: Spec, options: TwinOptions) -> TwinConfig:
    """Return a twin with one empty volume and none of our pods."""
    volume = VolumeRequest(claim=workloads.DATA_CLAIM, limits=spec.volume, size_bytes=_BARE_VOLUME_BYTES)
    return _twin_config(options, [volume], (CONTROLLER_PORT,))


def _twin_config(
    options: TwinOptions, volumes: Sequence[VolumeRequest], ports: tuple[int, ...]
) -> TwinConfig:
    return TwinConfig(
        output=options.output,
        cache=options.cache / "twin",
        volumes=volumes,
        published_ports=ports,
        kvm=options.kvm,
        kernel=options.kernel,
        memory_mib=options.memory_mib,
    )


def prepare_volume(folder: Path, progress: Progress) -> Path:
    """Have the images' own `prepare` commands fill a folder that becomes the volume, and wait for them."""
    with filling_volume(folder, progress) as filled:
        return filled()


@contextlib.contextmanager
def filling_volume(folder: Path, progress: Progress) -> Iterator[Callable[[], Path]]:
    """Have the images' own `prepare` commands fill a folder while the context does other things.

    Yields what waits for them, returns the folder, and raises TwinError where one fails. A command that the
    context did not wait for is ended with it: each can be begun again.
    """
    progress.doing("preparing the data of service and batch job (once; a minute or two)")
    commands = (
        ["hp_service", "prepare", f"--data={folder / 'hp'}"],
        ["lp_batch", "prepare", f"--dir={folder / 'lp'}", f"--file-size={LP_FILE_SIZE}"],
    )
    with contextlib.ExitStack() as stack:
        waits = [stack.enter_context(_preparing(command)) for command in commands]

        def filled() -> Path:
            for wait in waits:
                wait()
            return folder

        yield filled


@contextlib.contextmanager
def _preparing(command: Sequence[str]) -> Iterator[Callable[[], None]]:
    module, *arguments = command
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdout=output, stderr=output, text=True
        ) as process,
    ):

        def wait() -> None:
            if process.wait() != 0:
                output.seek(0)
                tail = "\n".join(output.read().strip().splitlines()[-6:])
                raise TwinError(f"`{' '.join(command)}` failed with status {process.returncode}:\n{tail}")

        try:
            yield wait
        finally:
            process.terminate()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """What came of one run's load, by the clocks of host and guest."""

    started_unix_s: float
    started_s: float
    """By the host's monotonic clock; likewise the looks at the host."""
    host_s: float
    host: Sequence[tuple[float, JsonObject]]
    measured: JsonObject
    """What the guest's agent answered (node_twin.guest.window)."""

    @property
    def start_s(self) -> float:
        """Return the measured window's start by the guest's monotonic clock."""
        return cast(float, self.measured["window_start_s"])


class TwinTarget:
    """A booted twin with the service ready on it."""

    def __init__(self, spec: Spec, options: TwinOptions, twin: Twin, contents: Path) -> None:
        self.twin = twin
        self._spec = spec
        self._options = options
        self.ids_max = _ids_max(contents)
        """The service knows the ids from 0 to below this."""
        self.node = Node(twin, spec.volume, give_controller_volume=options.give_controller_volume)
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
            arm = self._arm(planned)
            present |= {workload.name: workload for workload in arm}
            self._start_arm(arm)
            restarts_before = {name: restarts_of(self.twin.pod(name)) for name in present}
            return self._measure(planned, present, restarts_before, notes, progress)
        finally:
            progress.doing("stopping the pods of this scenario")
            for name in (workloads.LP_POD, workloads.CONTROLLER_POD):
                if name in present:
                    self.twin.delete_pod(name)
            self.twin.collect()

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

    def _start_arm(self, arm: Sequence[workloads.Workload]) -> None:
        """Start the scenario's pods, one after the other: what one reads must not delay another."""
        for workload in arm:
            self.twin.create_pod(workload.manifest)
            if workload.name != workloads.LP_POD:
                self.twin.wait_ready(workload.name, timeout_s=READY_TIMEOUT_S)
            elif self.twin.wait_moved(workload.name, _LP_FLOWING_BYTES, timeout_s=READY_TIMEOUT_S) is None:
                log = self.twin.log(workload.name, tail_lines=15)
                raise TwinError(f"the batch job does no I/O\n{log}")

    def _measure(
        self,
        planned: PlannedRun,
        present: Mapping[str, workloads.Workload],
        restarts_before: Mapping[str, int],
        notes: list[str],
        progress: Progress,
    ) -> RunRecord:
        window = self._load(planned, progress)
        measured, warmup_s = window.measured, self._spec.warmup_s
        pods = self._pods(present, restarts_before)
        if self._options.scrape:
            self._keep_pages(planned, window)
        devices = cast("Mapping[str, str]", self._environment["device_of_claim"])
        lp_claim = workloads.OTHER_CLAIM if self._options.lp_elsewhere else workloads.DATA_CLAIM
        document: JsonObject = {
            "schema": "drcio.run/1",
            "scenario": planned.scenario.name,
            "policy": planned.scenario.policy,
            "repeat": planned.repeat,
            "order": planned.order,
            "started_unix_s": window.started_unix_s,
            "warmup_s": warmup_s,
            "duration_s": self._spec.duration_s,
            "interrupted": False,
            "notes": [*notes, *_host_file_notes(measured)],
            "environment": self._environment,
            "clock": self.twin.clock,
            "host": [
                {"t_s": round(t_s - window.started_s - warmup_s, 3), **cpu}
                for t_s, cpu in (window.host if self.twin.clock == "real" else ())
            ],
            "devices": {"hp": [devices[workloads.DATA_CLAIM]], "lp": [devices[lp_claim]]},
            "pods": pods,
            "lp_summary": self._stop_lp(present),
            "cost": {"guest_s": measured["guest_s"], "host_s": window.host_s},
            "load": measured["record"],
            "samples": [
                {**sample, "t_s": round(cast(float, sample["t_s"]) - window.start_s, 3)}
                for sample in cast("Sequence[JsonObject]", measured["samples"])
            ],
        }
        return load_run(Field(document, "", "the run just made", "this is a defect of the twin target"))

    def _load(self, planned: PlannedRun, progress: Progress) -> _Window:
        """Send the run's load, and watch the host meanwhile."""
        spec = self._spec
        total_s = spec.warmup_s + spec.duration_s
        plan = Plan(
            url=f"http://127.0.0.1:{HP_PORT}/score",
            rate_rps=spec.rate_rps,
            duration_s=spec.duration_s,
            warmup_s=spec.warmup_s,
            seed=planned.load_seed,
            arrivals=Arrivals(spec.arrivals),
            ids_max=self.ids_max,
            timeout_s=_TIMEOUT_S,
        )
        progress.doing("measuring")
        started_unix_s, started_s = time.time(), time.monotonic()
        with HostWatch() as watch:
            measured = self.twin.load(
                {**asdict(plan), "arrivals": plan.arrivals.value},
                scrape=(HP_PORT, LP_PORT, CONTROLLER_PORT) if self._options.scrape else (),
                on_elapsed=lambda elapsed_s: progress.within_run(min(elapsed_s, total_s), total_s),
            )
        return _Window(
            started_unix_s=started_unix_s,
            started_s=started_s,
            host_s=time.monotonic() - started_s,
            host=watch.seen,
            measured=measured,
        )

    def _pods(
        self, present: Mapping[str, workloads.Workload], restarts_before: Mapping[str, int]
    ) -> JsonObject:
        """Return what each pod was during the run, as the API has it at its end."""
        after = {name: self.twin.pod(name) for name in present}
        return {
            name: {
                "qos_class": _status_text(after[name], "qosClass"),
                "priority": _labels(workload.manifest).get("drcio.io/priority"),
                "role": workload.role,
                "restarts": restarts_of(after[name]) - restarts_before[name],
            }
            for name, workload in present.items()
        }

    def _keep_pages(self, planned: PlannedRun, window: _Window) -> None:
        """Keep what was scraped, by the guest's clock from when the run began by the host's.

        So within a run rates are the node's.
        """
        pages = cast("Sequence[Mapping[str, float]]", window.measured["pages"])
        zero_s = window.start_s - self._spec.warmup_s - window.started_unix_s
        kept = [{**page, "unix_s": page["t_s"] - zero_s} for page in pages]
        keep_pages(self._options.output, Path(planned.file_name).stem, kept)

    def _stop_lp(self, present: Mapping[str, workloads.Workload]) -> JsonObject | None:
        """Stop the batch job and return the summary that it leaves as its last line."""
        if workloads.LP_POD not in present:
            return None
        self.twin.delete_pod(workloads.LP_POD)
        self.twin.collect()
        logs = (self._options.output / PODS_FOLDER).glob(f"*_{workloads.LP_POD}_*/*/*.log")
        newest = max(logs, key=lambda path: path.stat().st_mtime_ns, default=None)
        for line in reversed(newest.read_text(errors="replace").splitlines() if newest else []):
            with contextlib.suppress(ValueError):
                summary = json.loads(line)
                if isinstance(summary, dict):
                    return cast(JsonObject, summary)
        return None

    def _describe(self) -> JsonObject:
        guest = self.twin.environment()
        ready = httpx.get(self.twin.url(HP_PORT) + "/readyz", timeout=READY_TIMEOUT_S).json()
        return {
            "commit": checkout_commit(),
            "target": "twin",
            "accelerator": self.twin.accelerator,
            "clock": self.twin.clock,
            "instructions_per_s": None if self.twin.kvm else INSTRUCTIONS_PER_S,
            "cpus": guest["cpus"],
            "kernel": guest["kernel"],
            "boots": self.twin.guest.boots,
            "volume": {"iops": self._spec.volume.iops, "mib_s": self._spec.volume.mib_s},
            "volume_in_memory": self.twin.volume_in_memory,
            "scheduler": guest["scheduler"],
            "device_of_claim": guest["device_of_claim"],
            "read_path": ready.get("read_path"),
            "profile_given": self._options.give_controller_volume,
        }


def _host_file_notes(measured: JsonObject) -> list[str]:
    """Note that the window waited for the host, which it must not."""
    count = measured["host_file_requests"]
    return [f"{count} requests for the host's files within the load"] if count else []


def _ids_max(contents: Path) -> int:
    return int(json.loads((contents / "hp" / "metadata.json").read_text())["graph"]["reviews"])


def checkout_commit() -> str:
    """Return what was run: the checkout's commit, marked where files differ from it."""
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


def _status_text(pod: JsonObject | None, key: str) -> str:
    return str(cast("Mapping[str, JsonValue]", (pod or {}).get("status", {})).get(key, ""))
