"""The whole of a measurement: wait for the workloads, load the service, judge, publish."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from experiments.job import account
from experiments.job.api import Api
from experiments.job.configmap import ConfigMap
from experiments.job.counters import Io
from experiments.job.errors import JobError, NotPublished, NotYet, ScrapeError, WorkloadNotReady
from experiments.job.observer import Observer, Sources, Web
from experiments.job.peers import Crew, Peers
from experiments.job.publish import Published, publish_failure, publish_run
from experiments.job.recording import Measured, run_record
from experiments.job.scene import Scene, shown, strangers
from experiments.records.jsonfields import JsonObject, JsonValue
from experiments.records.spec import NO_POLICY, Spec, plan_runs
from load_generator.clock import clock_here
from load_generator.errors import LoadGeneratorError
from load_generator.plan import Plan
from load_generator.record import LoadRecord
from load_generator.run import Progress, generate
from load_generator.schedule import Arrivals

FLOWING_BYTES: Final = 8 << 20
"""What the batch job moves before it counts as doing I/O; its first requests may be of its set-up."""
CONTROLLER_TIMEOUT_S: Final = 300.0
"""The controller is deployed before; it has only to see the pods and, after a change, its ConfigMap, which
kubelet brings within two minutes (its sync period and its cache's, a minute each)."""
REQUEST_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 1.0
_PROGRESS_EVERY_S: Final = 10.0

Log = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What to measure, where, and how long to wait for it."""

    spec: Spec
    """Of one scenario, one repeat."""
    service_url: str
    """Where the service is, without a path."""
    sources: Sources
    crew: Crew
    scene: Scene | None
    """Which pods may run meanwhile; None where there is no API server to ask."""
    controller_config: str | None
    """Digest of the configuration that is measured; None takes whatever the controller runs on."""
    facts: JsonObject
    """What else the record is to say of its environment, such as the images."""
    ready_timeout_s: float
    flowing_timeout_s: float
    alone_timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    """What the service reports of itself."""

    ids: int
    read_path: str | None
    io_cost: bool
    """Whether the kernel's iocost is on at its disk."""


def measure(
    wanted: Measurement, config_map: ConfigMap, web: Web, api: Api, *, stop: threading.Event, log: Log
) -> Published | None:
    """Measure once and publish; return None for a generator that only hands its part over.

    What keeps it from measuring becomes an invalid result that says so. Raises NotPublished alone.
    """
    job = _Job(wanted, config_map, web, api, stop, log)
    try:
        if wanted.crew.leads:
            return job.lead()
        job.follow()
    except NotPublished:
        raise
    except (JobError, LoadGeneratorError) as error:
        log(f"event=not-measured reason={str(error)!r}")
        if wanted.crew.leads:
            return publish_failure(config_map, wanted.spec, str(error))
        job.peers.fail(str(error))
    return None


class _Job:
    """One generator's part."""

    def __init__(
        self,
        wanted: Measurement,
        config_map: ConfigMap,
        web: Web,
        api: Api,
        stop: threading.Event,
        log: Log,
    ) -> None:
        self.peers = Peers(wanted.crew, config_map)
        self._wanted = wanted
        self._config_map = config_map
        self._web = web
        self._api = api
        self._stop = stop
        self._log = log
        (self._planned,) = plan_runs(wanted.spec)

    def follow(self) -> None:
        """Send this generator's share of the load, and leave what came of it to generator 0."""
        service = self._wait_for_service()
        self.peers.start_together()
        self.peers.hand_over(self._load(service))

    def lead(self) -> Published:
        """Measure, with the others where there are any, and publish."""
        wanted = self._wanted
        observer = Observer(wanted.sources, self._web)
        service = self._wait_for_service()
        self._wait_for_batch_job(observer)
        self._wait_until_alone()
        self._wait_until_unsteered()
        self._wait_for_controller(observer)
        self.peers.start_together()
        started_unix_s, began_s = time.time(), time.monotonic()
        observer.start()
        try:
            own = self._load(service)
        finally:
            observer.stop()
        load = self.peers.merged(own)
        record = run_record(
            wanted.spec,
            self._planned,
            wanted.sources,
            Measured(
                load=load.document(),
                observations=observer.observations,
                window_start_s=began_s + wanted.spec.warmup_s,
                started_unix_s=started_unix_s,
                clock=clock_here(),
                restarts=observer.restarts,
                environment=self._environment(service),
                interrupted=load.interrupted,
                notes=self._notes(observer, load),
            ),
        )
        published = publish_run(self._config_map, wanted.spec, record)
        if not published.with_record:
            self._log("event=record-left-out reason='it does not fit into a ConfigMap'")
        return published

    def _load(self, service: _Service) -> LoadRecord:
        spec, crew = self._wanted.spec, self._wanted.crew
        plan = Plan(
            url=f"{self._wanted.service_url}/score",
            rate_rps=spec.rate_rps / crew.size,
            duration_s=spec.duration_s,
            warmup_s=spec.warmup_s,
            seed=crew.seed(self._planned.load_seed),
            arrivals=Arrivals(spec.arrivals),
            ids_max=service.ids,
            timeout_s=REQUEST_TIMEOUT_S,
        )
        return generate(plan, on_progress=_logged_now_and_then(self._log), stop=self._stop)

    def _wait_for_service(self) -> _Service:
        what = f"the service at {self._readiness_url} to be ready"
        return self._wait(self._ask_service, self._wanted.ready_timeout_s, what)

    @property
    def _readiness_url(self) -> str:
        return f"{self._wanted.service_url}/readyz"

    def _ask_service(self) -> _Service:
        return _service(self._web.get(self._readiness_url))

    def _wait_for_batch_job(self, observer: Observer) -> None:
        if not self._planned.scenario.with_lp:
            return
        before: list[Io] = []

        def flowing() -> bool | None:
            moved = observer.look().lp
            if moved is None:
                return None
            before.append(moved)
            return True if moved.bytes - before[0].bytes >= FLOWING_BYTES else None

        what = f"the batch job at {self._wanted.sources.lp} to do I/O"
        self._wait(flowing, self._wanted.flowing_timeout_s, what)

    def _wait_until_alone(self) -> None:
        """Wait until nothing runs that is no part of the scenario."""
        scene = self._wanted.scene
        if scene is None:
            return

        def alone() -> bool:
            if found := strangers(self._api, scene):
                raise NotYet(shown(found))
            return True

        self._wait(alone, self._wanted.alone_timeout_s, "what is no part of the scenario to be gone")

    def _wait_until_unsteered(self) -> None:
        """Wait until no knob is on that an agent left on the node, where the scenario has none.

        What it wrote into other pods' cgroups goes with those pods; weights say nothing without iocost.
        """
        if self._planned.scenario.policy != NO_POLICY:
            return

        def unsteered() -> bool:
            if self._ask_service().io_cost:
                raise NotYet("iocost is on; an agent that was killed leaves it so until one runs there again")
            return True

        what = "the service's disk to be without control, as the scenario is"
        self._wait(unsteered, self._wanted.alone_timeout_s, what)

    def _wait_for_controller(self, observer: Observer) -> None:
        """Wait until the controller knows the workloads, and runs on the configuration that is measured.

        Where no configuration is named, the verdict will say what is missing.
        """
        if self._planned.scenario.policy == NO_POLICY:
            return
        if (config := self._wanted.controller_config) is not None:
            self._wait(
                lambda: _in_force(observer, config),
                CONTROLLER_TIMEOUT_S,
                f"the controller to run on the configuration {config}",
            )
            return
        try:
            self._wait(
                lambda: observer.look().account, CONTROLLER_TIMEOUT_S, "the controller to know the workloads"
            )
        except WorkloadNotReady as error:
            self._log(f"event=no-controller reason={str(error)!r}")

    def _wait(self, look: Callable[[], T | None], timeout_s: float, what: str) -> T:
        began_s = logged_s = time.monotonic()
        problem = "no answer"
        while True:
            try:
                found = look()
                problem = "not yet"
            except (ScrapeError, NotYet) as error:
                found, problem = None, str(error)
            if found is not None:
                return found
            now_s = time.monotonic()
            if now_s - began_s > timeout_s:
                raise WorkloadNotReady(f"waited {timeout_s:.0f} s for {what}: {problem}")
            if now_s - logged_s >= _PROGRESS_EVERY_S:
                logged_s = now_s
                self._log(f"event=waiting for={what!r} elapsed_s={now_s - began_s:.0f} found={problem!r}")
            if self._stop.wait(_POLL_S):
                raise WorkloadNotReady(f"interrupted while waiting for {what}")

    def _environment(self, service: _Service) -> JsonObject:
        volume = self._wanted.spec.volume
        return {
            "target": self._wanted.spec.target,
            "kernel": platform.release(),
            "cpus": os.cpu_count(),
            "volume": {"iops": volume.iops, "mib_s": volume.mib_s},
            "read_path": service.read_path,
            "load_generators": self._wanted.crew.size,
            **self._wanted.facts,
        }

    def _notes(self, observer: Observer, load: LoadRecord) -> list[str]:
        notes = []
        if observer.failures:
            notes.append(f"{observer.failures} looks failed, the first: {observer.first_failure}")
        if self._wanted.crew.size > 1 and sum(part.count for part in load.intervals) < load.completed:
            notes.append("the figures per second are of some of the load generators only")
        return notes


def _in_force(observer: Observer, config: str) -> bool:
    """Return True once the controller of the workloads' node runs on a configuration; raises NotYet."""
    status = observer.look().account
    if status is None:
        raise NotYet("no controller reports the workloads")
    if (found := account.config_of(status)) != config:
        raise NotYet(f"it runs on {found or 'one that it does not name'}")
    return True


def _service(page: str) -> _Service:
    """Read the service's readiness; one that reports nothing gets the generator's defaults."""
    try:
        said: JsonValue = json.loads(page)
    except ValueError:
        said = None
    answer = said if isinstance(said, Mapping) else {}
    ids, path = answer.get("reviews"), answer.get("read_path")
    return _Service(
        ids=ids if isinstance(ids, int) and not isinstance(ids, bool) and ids > 0 else Plan.ids_max,
        read_path=path if isinstance(path, str) else None,
        io_cost=answer.get("io_cost") is True,
    )


def _logged_now_and_then(log: Log) -> Callable[[Progress], None]:
    logged_s = float("-inf")

    def log_if_due(progress: Progress) -> None:
        nonlocal logged_s
        if (now_s := time.monotonic()) - logged_s < _PROGRESS_EVERY_S:
            return
        logged_s = now_s
        log(
            f"event=progress phase={progress.phase} elapsed_s={progress.elapsed_s:.0f} "
            f"of_s={progress.phase_s:.0f} sent={progress.sent} completed={progress.completed} "
            f"failed={progress.failed}"
        )

    return log_if_due
