"""The running agent: threads that bring news, one loop that acts on it, a clean end."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from drcio_controller.config import PRIORITY_LABEL, PolicyName
from drcio_controller.configfile import ConfigFile
from drcio_controller.errors import NodeError
from drcio_controller.instance import TYPE_LABEL, valid_type
from drcio_controller.kernel.devices import own_mounts
from drcio_controller.kernel.files import write_text
from drcio_controller.kernel.knob import Roots
from drcio_controller.kernel.wakeups import CgroupWatch
from drcio_controller.knobs.journal import Journal
from drcio_controller.knobs.writers import Knobs
from drcio_controller.kube.backoff import Backoff
from drcio_controller.kube.client import KubeClient
from drcio_controller.kube.endpoint import Endpoint
from drcio_controller.kube.errors import KubeError, NotFound, Unauthorized
from drcio_controller.kube.events import EventRecorder
from drcio_controller.kube.informer import Informer
from drcio_controller.kube.namespace import parse_namespace
from drcio_controller.kube.pod import parse_pod
from drcio_controller.latency.watch import LatencyWatch
from drcio_controller.loglimit import LogLimit
from drcio_controller.loop import Controller
from drcio_controller.standby import REMEDIES, NodeLock, Standby, node_standby
from drcio_controller.status.metrics import NodeCollector
from drcio_controller.status.model import NodeStatus
from drcio_controller.status.notices import Notices
from drcio_controller.status.report import Tally
from drcio_controller.status.server import Probes, Server, serve

log = logging.getLogger(__name__)

STALLED_AFTER_S: Final = 30.0
"""Without a finished tick for this long the liveness probe fails."""

RESTORE_PATIENCE_S: Final = 8.0
"""For knobs that are busy at the end; well within the pod's grace period (manifest.py)."""

FIRST_LIST_TIMEOUT_S: Final = 30.0

GATHER_S: Final = 0.02
"""After acting on a piece of news, wait this long for more: pods come and go in crowds, and the first of
them need not wait for the others."""

GATHER_SHARE: Final = 4.0
"""And at least so many times what acting on it took, up to GATHER_LIMIT_S: who changes a label all day long
has a fifth of a core and no more."""
GATHER_LIMIT_S: Final = 0.1

TAKE_NODE_INTERVAL_S: Final = 2.0
"""How often a passive agent looks whether the one that steers the node has gone, and one that cannot listen
whether its address is free."""

STATUS_INTERVAL_S: Final = 1.0
"""How often the status that metrics and people see is put together: it costs as much as deciding."""

LATENCY_WINDOW_S: Final = 3.0
"""Over which an application's percentile is taken; a handful of looks of the law."""

STEP_WINDOW_S: Final = 60.0
"""The window that the compared step policy was published with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line decides."""

    node_name: str
    endpoint: Endpoint
    roots: Roots
    state_dir: Path | None
    config_path: Path | None
    listen: tuple[str, int]
    once: bool = False
    dry_run: bool = False
    write: Callable[[str, str], None] = write_text
    """How a kernel file is written; a fake node has its own way."""


class _News(Enum):
    WAKE = "pods, namespaces or cgroups are not what they were"
    STOP = "it is time to end"


class Agent:
    """One process on one node."""

    def __init__(self, options: Options) -> None:
        self._standby = node_standby(options.roots.cgroup)
        self._lock = NodeLock(options.roots.cgroup)
        self._options = options
        self._tally = Tally()
        self._file = ConfigFile(options.config_path)
        self._config_refusal = ""
        if options.once:
            self._file.load()
        else:
            self._take_config(in_force="defaults")
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._journal = Journal(None if options.dry_run else options.state_dir, boot_id=_boot_id())
        self._latency = LatencyWatch(
            STEP_WINDOW_S if self._file.config.policy is PolicyName.STEP else LATENCY_WINDOW_S
        )
        self._controller = Controller(
            node_name=options.node_name,
            roots=options.roots,
            knobs=Knobs(options.roots, self._journal, dry_run=options.dry_run, write=options.write),
            config=self._file.config,
            latencies=self._latency.latencies,
            tally=self._tally,
            mountinfo=own_mounts(),
            clock=time.monotonic,
        )
        self._client = KubeClient(options.endpoint, observe=self._count_request)
        # Somebody waits for --once: each kind of failure is one line to them, and no retry another one.
        failure_lines = LogLimit(burst=1, refill_s=math.inf) if options.once else None
        self._informer = Informer(
            self._client.pods, parse_pod, self._wake,
            field_selector=f"spec.nodeName={options.node_name}", failure_lines=failure_lines,
        )  # fmt: skip
        self._namespaces = Informer(
            self._client.namespaces, parse_namespace, self._wake, failure_lines=failure_lines
        )
        self._recorder = EventRecorder(
            self._client, component="drcio-controller", node_name=options.node_name
        )
        self._notices = Notices(self._recorder, self._informer.items)
        self._watch = CgroupWatch(self._wake)
        self._status = NodeStatus(node=options.node_name)
        self._last_tick_s = time.monotonic()
        self.port: int | None = None
        """Where it listens; None until it does."""
        self._server: Server | None = None
        self._listen_refused = False
        self._error_lines = LogLimit()
        self._status_at_s = float("-inf")
        self._known: frozenset[str] = frozenset()
        self._ended = threading.Event()
        self._pods_stale = True
        self._asked_for_node_s = float("-inf")

    def run(self) -> int:
        """Run until `stop`, or once; return the exit status."""
        if self._options.once:
            url = self._options.endpoint.url
            log.info("listing_pods api_server=%s at_most_s=%g", url, FIRST_LIST_TIMEOUT_S)
        self._informer.start()
        self._namespaces.start()
        if not self._options.once:
            self._listen()
        threading.Thread(target=self._learn_instance_type, name="instance-type", daemon=True).start()
        if not self._options.once:
            self._recorder.start()
            self._latency.start()
        try:
            self._take_node()
            return self._run_once() if self._options.once else self._run_until_stopped()
        finally:
            self._ended.set()
            self._lock.release()
            self._latency.stop()
            self._informer.stop()
            self._namespaces.stop()
            self._recorder.stop()
            if self._server is not None:
                self._server.shutdown()
                self._server.server_close()
            self._client.close()

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler or another thread."""
        self._news.put(_News.STOP)

    def _listen(self) -> None:
        """Serve, or log once why not: what holds on the node does not depend on who can ask about it."""
        registry = CollectorRegistry()
        registry.register(NodeCollector(lambda: self._status, self._tally))
        probes = Probes(registry=registry, status=lambda: self._status, alive=self._alive)
        try:
            self._server = serve(self._options.listen, probes)
        except OSError as error:
            if not self._listen_refused:
                log.error(
                    "not_listening address=%s:%d error=%r hint=%r",
                    *self._options.listen, error.strerror or str(error),
                    "name another by --listen; where a second agent has it, keep one",
                )  # fmt: skip
            self._listen_refused = True
            return
        self.port = self._server.server_port
        if self._listen_refused:
            log.info("listening address=%s:%d", *self._options.listen)

    def _take_node(self) -> None:
        """Become the agent that writes on this node, unless there is one or nothing can be written."""
        if self._standby not in (None, Standby.LOCKED):
            self._log_standby()
        elif self._options.dry_run or self._lock.acquire():
            if self._standby is not None:
                log.info("standby_ended reason=%s", self._standby)
            self._standby = None
            self._journal.load()
            if self._journal.inherited:
                log.info("took_over entries=%d", self._journal.inherited)
        elif self._standby is None:
            self._standby = Standby.LOCKED
            self._log_standby()

    def _log_standby(self) -> None:
        if self._standby is not None:
            found, remedy = REMEDIES[self._standby]
            log.error("standby reason=%s found=%r hint=%r", self._standby, found, remedy)

    def _run_once(self) -> int:
        """Apply what holds now and leave it so."""
        if self._standby is not None:
            found, remedy = REMEDIES[self._standby]
            raise NodeError(found, hint=remedy)
        deadline_s = time.monotonic() + FIRST_LIST_TIMEOUT_S
        while not self._synced():
            if time.monotonic() > deadline_s:
                raise NodeError(
                    f"no pods could be listed within {FIRST_LIST_TIMEOUT_S:g} s:"
                    f" {self._informer.health().last_error or 'no answer'}",
                    hint="check --api-server, --node-name and the service account's rights",
                )
            if self._next_news(0.1) is _News.STOP:
                return 130
        self._take_pods()
        for _ in range(2):
            # The second look has rates, and sees the devices with their engines on.
            self._controller.tick(time.monotonic())
            time.sleep(0.0 if self._options.dry_run else 0.2)
        self._refresh_status()
        print(render_once(self._status, dry_run=self._options.dry_run))
        return 0

    def _run_until_stopped(self) -> int:
        log.info(
            "started node=%s policy=%s interval_s=%g dry_run=%s",
            self._options.node_name, self._file.config.policy_text,
            self._file.config.interval_s, self._options.dry_run,
        )  # fmt: skip
        next_tick_s = time.monotonic()
        while True:
            news = self._next_news(max(0.0, next_tick_s - time.monotonic()))
            batch = [] if news is None else [news, *iter(lambda: self._next_news(0.0), None)]
            if _News.STOP in batch:
                break
            began_s = time.monotonic()
            due = began_s >= next_tick_s
            try:
                self._pass(acted_on_news=bool(batch), due=due)
            except Exception as error:
                # The one broad catch: an agent that dies leaves its node with limits nobody moves.
                self._tally.tick_errors += 1
                if self._error_lines.admits(type(error).__name__):
                    log.exception("tick_failed")
            if batch:
                took_s = time.monotonic() - began_s
                time.sleep(max(GATHER_S, min(GATHER_LIMIT_S, GATHER_SHARE * took_s)))
            if due:
                next_tick_s = max(next_tick_s + self._controller.look_again_s, time.monotonic())
        failures = self._controller.close(RESTORE_PATIENCE_S).unreleased if self._standby is None else ()
        for failure in failures:
            log.error("not_restored knob=%s error=%r kept=%s", failure.knob, str(failure.error), failure.kept)
        log.info("stopped not_restored=%d", len(failures))
        return 1 if failures else 0

    def _pass(self, *, acted_on_news: bool, due: bool) -> None:
        started_s = time.monotonic()
        self._pods_stale = self._pods_stale or acted_on_news
        if started_s - self._asked_for_node_s >= TAKE_NODE_INTERVAL_S:
            self._asked_for_node_s = started_s
            if self._standby is Standby.LOCKED:
                self._take_node()
            if self._server is None:
                self._listen()
        if self._standby is None and self._synced():
            if self._pods_stale:
                self._take_pods()
            if due:
                if self._take_config(in_force="last_good"):
                    self._tally.config_reloads += 1
                    log.info("config_taken policy=%s", self._file.config.policy_text)
                    self._controller.set_config(self._file.config)
                # Of now, and not of before the pods were taken: what is counted meanwhile is of this look.
                self._controller.tick(time.monotonic())
                self._watch.watch(self._controller.folders())
            else:
                self._controller.apply(time.monotonic())
        if acted_on_news or started_s - self._status_at_s >= STATUS_INTERVAL_S:
            self._status_at_s = started_s
            self._refresh_status()
            if not self._options.dry_run:
                self._notices.look(self._status)
        self._last_tick_s = time.monotonic()
        self._tally.tick_seconds += self._last_tick_s - started_s

    def _take_config(self, *, in_force: str) -> bool:
        """Look at the file; return whether another configuration is in force, and log a refusal once."""
        taken = self._file.poll()
        if self._file.error and self._file.error != self._config_refusal:
            self._tally.config_errors += 1
            log.error("config_refused error=%r in_force=%s", self._file.error, in_force)
        self._config_refusal = self._file.error
        return taken

    def _synced(self) -> bool:
        """Return whether pods are known, and their namespaces' labels are or cannot be had."""
        namespaces = self._namespaces.health()
        return self._informer.health().synced and (namespaces.synced or namespaces.failures_in_a_row > 0)

    def _learn_instance_type(self) -> None:
        """Ask the API server for this node's instance type, until it answers or refuses."""
        failures = 0
        while not self._ended.is_set():
            try:
                label = self._client.node_labels(self._options.node_name).get(TYPE_LABEL, "")
            except (NotFound, Unauthorized) as error:
                log.warning("instance_type_unknown error=%r", str(error))
                return
            except (KubeError, OSError):
                failures += 1
                self._ended.wait(Backoff().delay_s(failures, 0.0))
                continue
            if valid_type(label):
                self._controller.set_instance_type(label)
            return

    def _take_pods(self) -> None:
        classes = {
            namespace.name: namespace.labels[PRIORITY_LABEL]
            for namespace in self._namespaces.items().values()
            if PRIORITY_LABEL in namespace.labels
        }
        self._pods_stale = False
        self._controller.set_pods(self._informer.items(), classes)
        managed = self._controller.managed_uids()
        self._tally.discovered += len(managed - self._known)
        self._known = managed

    def _refresh_status(self) -> None:
        if self._standby is not None:
            self._status = NodeStatus(
                node=self._options.node_name,
                at_unix_s=time.time(),
                policy=self._file.config.policy_text,
                synced=self._synced(),
                standby=self._standby.value,
                config_error=self._file.error,
                problems=tuple(self._problems()),
            )
            return
        self._status = self._controller.status(
            time.time(), synced=self._synced(), config_error=self._file.error, problems=self._problems()
        )

    def _problems(self) -> list[str]:
        """Return what does not hold beside the kernel's knobs."""
        if self._standby is not None:
            found, remedy = REMEDIES[self._standby]
            return [f"this agent is passive: {found}; {remedy}"]
        namespaces = self._namespaces.health()
        if namespaces.synced or not namespaces.last_error:
            return []
        return [f"labels of namespaces have no effect, they cannot be listed: {namespaces.last_error}"]

    def _next_news(self, timeout_s: float) -> _News | None:
        try:
            return self._news.get(timeout=timeout_s) if timeout_s > 0 else self._news.get_nowait()
        except queue.Empty:
            return None

    def _wake(self) -> None:
        self._news.put(_News.WAKE)

    def _alive(self) -> bool:
        """Return whether it looks at the node, and would hear of a change."""
        hears = self._informer.alive and self._namespaces.alive
        return hears and time.monotonic() - self._last_tick_s < STALLED_AFTER_S

    def _count_request(self, verb: str, result: str) -> None:
        self._tally.api_requests[verb, result] += 1


def render_once(status: NodeStatus, *, dry_run: bool) -> str:
    """Return what `--once` prints: one line per managed pod, and what does not hold."""
    verb = "would get" if dry_run else "has"
    lines = [
        f"{pod.namespace}/{pod.name}: class {pod.priority}, {verb} weight {pod.weight}"
        for pod in status.pods
        if pod.weight is not None
    ]
    lines += [
        f"{device.name} ({device.device}): engine {device.engine}"
        + (f" - {device.engine_note}" if device.engine_note else "")
        for device in status.devices
    ]
    lines += [f"problem: {problem}" for problem in status.problems]
    return "\n".join(lines or ["no managed pods on this node"])


def _boot_id() -> str:
    """Return the running kernel's boot id; the journal of another boot means nothing to this one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
