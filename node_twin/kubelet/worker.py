"""One pod's life: cgroups, volumes, init containers, containers, the end."""

import asyncio
import contextlib
import logging
import secrets
import signal
import time
from collections.abc import Callable
from pathlib import Path

from drcio_controller.kube.jsontypes import JsonObject
from drcio_controller.kube.pod import QosClass

from .cgroups import CgroupTree, container_knobs, container_scope, oom_score_adj, pod_knobs, pod_slice
from .config import KubeletConfig, results_of
from .environment import ConfigMapReader, command_line, environment
from .errors import KubeletError
from .manifest import ContainerSpec, PodManifest, Resources, RestartPolicy
from .probes import states
from .restarts import init_policy, restarts
from .runtime import ContainerRuntime, Process
from .shim import Bind
from .status import ContainerRecord, Running, Terminated, Waiting, pod_status
from .volumes import Sources, binds, make_volumes, refresh_config_maps

log = logging.getLogger(__name__)

# containerd's code for a container whose process never ran.
_START_ERROR_CODE = 128

# Killed processes leave their cgroup when the kernel gets round to it; in an emulated guest that
# can take a while.
_REMOVE_ATTEMPTS = 200
_REMOVE_INTERVAL_S = 0.05


class PodWorker:
    """Carry one pod from its manifest to its end."""

    def __init__(
        self,
        manifest: PodManifest,
        qos: QosClass,
        *,
        config: KubeletConfig,
        runtime: ContainerRuntime,
        tree: CgroupTree,
        read_config_map: ConfigMapReader,
        publish: Callable[[JsonObject], None],
    ) -> None:
        self.manifest = manifest
        self.qos = qos
        self._config = config
        self._runtime = runtime
        self._tree = tree
        self._read_config_map = read_config_map
        self._publish = publish
        self._slice = pod_slice(qos, manifest.uid)
        self._dir = config.state_dir / "pods" / manifest.uid
        self._init = [ContainerRecord(spec) for spec in manifest.init_containers]
        self._main = [ContainerRecord(spec) for spec in manifest.containers]
        for record in self._main if self._init else ():
            record.state = Waiting("PodInitializing")
        self._stopping = asyncio.Event()
        self._stop_by_s = float("inf")
        self._start_time_s = time.time()

    def stop(self, grace_period_s: float) -> None:
        """Begin to end the pod; a later call can only bring the end nearer."""
        deadline_s = asyncio.get_running_loop().time() + grace_period_s
        self._stop_by_s = min(self._stop_by_s, deadline_s)
        self._stopping.set()

    def refresh(self) -> None:
        """Bring the pod's ConfigMap volumes up to date."""
        if self._dir.exists():
            refresh_config_maps(self.manifest, self._dir, self._read_config_map)

    async def run(self) -> None:
        """Run the pod; return when its containers have ended for good and its cgroups are gone.

        A pod whose volumes cannot be made fails at once, where kubelet would wait for somebody to
        make them: in the twin nobody is going to.
        """
        failure = ""
        try:
            volumes = self._prepare()
            await self._live(volumes)
        except (KubeletError, OSError) as error:
            failure = str(error)
            log.warning("event=pod_failed pod=%s error=%r", self.manifest.name, failure)
        finally:
            await self._remove(self._slice)
        self._report(failure)

    def _prepare(self) -> Sources:
        self._tree.create(self._slice, pod_knobs(self.manifest), delegate=True)
        # Where the pause container would be. A reader of the tree must cope with a scope that no
        # container status names.
        sandbox = container_scope(secrets.token_hex(32))
        self._tree.create(f"{self._slice}/{sandbox}", container_knobs(Resources()), delegate=False)
        self._dir.mkdir(parents=True, exist_ok=True)
        return make_volumes(self.manifest, self._dir, self._config.claims, self._read_config_map)

    async def _live(self, volumes: Sources) -> None:
        policy = self.manifest.restart_policy
        self._report()
        for record in self._init:
            code = await self._keep(record, init_policy(policy), volumes)
            if code != 0 or self._stopping.is_set():
                return
        await asyncio.gather(*(self._keep(record, policy, volumes) for record in self._main))

    async def _keep(self, record: ContainerRecord, policy: RestartPolicy, volumes: Sources) -> int:
        """Run a container, again and again as the policy says; return its last exit code."""
        delay_s: float | None = None
        while True:
            ended = await self._run_once(record, volumes)
            record.state, record.ready, record.started = ended, False, False
            if self._stopping.is_set() or not restarts(policy, ended.exit_code):
                self._report()
                return ended.exit_code
            delay_s = self._config.crash_loop.next_delay_s(delay_s, ended.finished_s - ended.started_s)
            record.last = ended
            if delay_s:
                message = f"back-off {delay_s:.0f}s restarting failed container={record.spec.name}"
                record.state = Waiting("CrashLoopBackOff", message)
                self._report()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await self._stopping.wait()
                    record.state = ended
                    return ended.exit_code
            record.restart_count += 1

    async def _run_once(self, record: ContainerRecord, volumes: Sources) -> Terminated:
        record.container_id = secrets.token_hex(32)
        scope = f"{self._slice}/{container_scope(record.container_id)}"
        started_s = time.time()
        try:
            process = await self._start(record, scope, volumes)
        except (KubeletError, OSError) as error:
            await self._remove(scope)
            log.warning(
                "event=start_failed pod=%s container=%s error=%r",
                self.manifest.name,
                record.spec.name,
                str(error),
            )
            now_s = time.time()
            return Terminated(
                _START_ERROR_CODE, "StartError", started_s, now_s, record.container_id, str(error)
            )
        record.state = Running(started_s)
        unhealthy = asyncio.Event()
        record.started = record.spec.startup is None
        record.ready = record.started and record.spec.readiness is None
        self._report()
        probing = asyncio.create_task(self._probe(record, process, scope, unhealthy))
        try:
            code = await self._until_exit(process, scope, unhealthy)
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        out_of_memory = self._tree.oom_kills(scope) > 0
        await self._remove(scope)
        reason = "OOMKilled" if out_of_memory else "Completed" if code == 0 else "Error"
        return Terminated(code, reason, started_s, time.time(), record.container_id)

    async def _start(self, record: ContainerRecord, scope: str, volumes: Sources) -> Process:
        spec, config = record.spec, self._config
        variables = self._environment(spec)
        cgroup = self._tree.create(scope, container_knobs(spec.resources), delegate=False)
        log_dir = self.log_dir / spec.name
        log_dir.mkdir(parents=True, exist_ok=True)
        scratch_dir = self._dir / "roots" / record.container_id
        scratch_dir.mkdir(parents=True)
        return await self._runtime.run(
            {
                "argv": command_line(spec, variables),
                "env": variables,
                "working_dir": spec.working_dir or "/",
                "cgroup": str(cgroup),
                "log_file": str(log_dir / f"{record.restart_count}.log"),
                "scratch_dir": str(scratch_dir),
                "binds": self._binds(spec, volumes),
                "read_only_root": spec.read_only_root,
                "writable_sys": spec.privileged,
                "oom_score_adj": oom_score_adj(self.qos, spec.resources, config.node_memory_bytes),
            }
        )

    def _binds(self, spec: ContainerSpec, volumes: Sources) -> list[Bind]:
        """Return the container's mounts in order: volumes, results, and what these would hide."""
        mounts = [*binds(volumes, spec), *self._results_bind()]
        hidden: list[Bind] = [
            {"source": str(path), "target": str(path), "read_only": True}
            for path in self._config.image_dirs
            if any(path.is_relative_to(bind["target"]) for bind in mounts)
        ]
        return [*mounts, *hidden]

    def _results_bind(self) -> list[Bind]:
        """Return the mount through which a pod hands files to whoever started the twin."""
        if self._config.results_dir is None:
            return []
        own = results_of(self._config.results_dir, self.manifest.name)
        own.mkdir(parents=True, exist_ok=True)
        return [{"source": str(own), "target": "/results", "read_only": False}]

    @property
    def log_dir(self) -> Path:
        """Return where the pod's logs are."""
        manifest = self.manifest
        return self._config.log_dir / f"{manifest.namespace}_{manifest.name}_{manifest.uid}"

    def _environment(self, spec: ContainerSpec) -> dict[str, str]:
        return environment(
            self.manifest,
            spec,
            given={**self._config.base_env, "HOSTNAME": self.manifest.name},
            read_config_map=self._read_config_map,
        )

    async def _until_exit(self, process: Process, scope: str, unhealthy: asyncio.Event) -> int:
        """Wait for the process; end it when the pod stops or a startup probe has given up."""
        reasons: list[asyncio.Future[bool]] = [
            asyncio.create_task(event.wait()) for event in (self._stopping, unhealthy)
        ]
        try:
            futures: list[asyncio.Future[bool] | asyncio.Future[int]] = [process.exited, *reasons]
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            if not process.exited.done():
                await self._end(process, scope)
            return await process.exited
        finally:
            await _cancel(reasons)
            # In a real container the first process is the PID namespace's init: none outlives it.
            self._tree.kill(scope)

    async def _end(self, process: Process, scope: str) -> None:
        self._runtime.signal(process, signal.SIGTERM)
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self.manifest.grace_period_s
        while not process.exited.done():
            # Looked at again each time: a second deletion may have shortened the grace period.
            left_s = min(deadline_s, self._stop_by_s) - loop.time()
            if left_s <= 0:
                self._tree.kill(scope)
                return
            await asyncio.wait({process.exited}, timeout=min(left_s, 1.0))

    async def _probe(
        self, record: ContainerRecord, process: Process, scope: str, unhealthy: asyncio.Event
    ) -> None:
        """Keep `record.started` and `record.ready` true to the probes."""

        async def run_command(argv: tuple[str, ...], timeout_s: float) -> int:
            return await self._runtime.execute(
                {
                    "argv": list(argv),
                    "env": self._environment(record.spec),
                    "cgroup": str(self._tree.root / scope),
                    "container_pid": process.pid,
                },
                timeout_s,
            )

        if record.spec.startup is not None:
            startup = record.spec.startup
            async with contextlib.aclosing(states(startup, run_command)) as answers:
                async for state in answers:
                    if state.passing:
                        break
                    if state.failures >= startup.failure_threshold:
                        where = f"pod={self.manifest.name} container={record.spec.name}"
                        log.warning("event=startup_failed %s", where)
                        unhealthy.set()
                        return
            record.started = True
            record.ready = record.spec.readiness is None
            self._report()
        if record.spec.readiness is not None:
            async with contextlib.aclosing(states(record.spec.readiness, run_command)) as answers:
                async for state in answers:
                    if state.passing != record.ready:
                        record.ready = state.passing
                        self._report()

    async def _remove(self, path: str) -> None:
        """Remove a cgroup, killing what is in it."""
        if not (self._tree.root / path).exists():
            return
        self._tree.kill(path)
        for _ in range(_REMOVE_ATTEMPTS):
            if self._tree.remove(path):
                return
            await asyncio.sleep(_REMOVE_INTERVAL_S)
        log.error("event=cgroup_stuck path=%s", path)

    def _report(self, failure: str = "") -> None:
        status = pod_status(
            self.manifest,
            self.qos,
            self._init,
            self._main,
            start_time_s=self._start_time_s,
            stopping=self._stopping.is_set(),
        )
        if failure:
            status |= {"phase": "Failed", "reason": "Failed", "message": failure}
        self._publish(status)


async def _cancel(tasks: list["asyncio.Future[bool]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
