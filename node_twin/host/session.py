"""A node twin in use: boot it, talk to its Pod API and its agent, and be sure that it ends.

Whatever waits, waits in the guest, by its clock. The host sends a request, watches that the guest is
alive, and takes the answer: time-outs here are the guest's seconds, however long those last.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import platform
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_all
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

import httpx

from node_twin.errors import BootError, GuestDied, TwinError
from node_twin.host.kernel import DEFAULT_KERNEL, Kernel, ensure_kernel
from node_twin.host.vm import BOOT_ATTEMPTS, PANIC, Guest, GuestConfig, booted, free_ports, kvm_boots
from node_twin.jsontypes import JsonObject
from node_twin.layout import API_PORT, CONTROL_PORT, NAMESPACE, PODS_FOLDER, RESULTS_MOUNT
from node_twin.podstatus import failures_of, is_ready, phase_of, start_error
from node_twin.volume.image import VolumeImage, VolumeRequest, attached, build_server

BOOT_TIMEOUT_S = 600.0
"""About twenty times what boot and agent take emulated on two idle cores (30 s); machines are shared."""

KvmChoice = Literal["auto", "on", "off"]
Report = Callable[[str], None]
OnElapsed = Callable[[float], None]
"""Gets the guest's seconds since a call was made."""

INSTRUCTIONS_PER_S = 10**9
"""Of an emulated guest's clock: one a nanosecond (`-icount shift=0`, the fastest there is)."""
CPUS_WITH_KVM = 2
"""An emulated guest has one: several would share its instructions a second, and an interrupt from one to
another would wait for its turn."""
KVM_TRIAL_LOG = "kvm-trial.log"
"""Of the output folder."""
_LOOK_EVERY_S = 1.0
_STUCK_AFTER_S = 120.0
"""Of the host's time without a second of the guest's: such a second takes a minute on a crowded host."""
_ANSWERS_WITHIN_S = 1800.0
"""Of the guest's time, beyond what it was asked to wait; an idle guest gets there in a minute or two."""
_NEVER_IN_THE_GUEST = r"/(pulumi_\w+|tests?)/"
"""Half of all the sources that are installed here: clouds as classes, and packages' own tests."""
_UNTIMED = httpx.Timeout(None)
"""The host's clock decides nothing: `Watch` does, by the guest's."""


@dataclass(frozen=True, kw_only=True)
class TwinConfig:
    """What twin to boot, and where it may write on the host."""

    output: Path
    """Console, pod logs and what pods write under /results end up here."""
    cache: Path
    """Kernel and the like, kept between runs."""
    volumes: Sequence[VolumeRequest]
    published_ports: Sequence[int] = ()
    """Guest TCP ports to reach from the host, beside the Pod API's and the agent's."""
    memory_mib: int = 4096
    kernel: str = DEFAULT_KERNEL
    """A line of Debian's kernels, or the path of one of the user's own."""
    kvm: KvmChoice = "auto"
    kernel_arguments: Sequence[str] = ()
    repository: Path = field(default_factory=lambda: Path(__file__).resolve().parents[2])


class Twin:
    """A booted twin. Every call raises `GuestDied` with the console's tail once the guest is gone."""

    def __init__(
        self, guest: Guest, images: Sequence[VolumeImage], ports: Mapping[int, int], *, kvm: bool
    ) -> None:
        self.guest = guest
        self.kvm = kvm
        self._images = {image.request.claim: image for image in images}
        self._ports = dict(ports)
        # No connection is kept: the guest's idle seconds, after which a server closes one, pass in no time.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._api = httpx.Client(base_url=self.url(API_PORT), timeout=_UNTIMED, limits=limits)
        self._control = httpx.Client(base_url=self.url(CONTROL_PORT), timeout=_UNTIMED, limits=limits)
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="twin-call")
        self._watch = Watch(guest)

    @property
    def accelerator(self) -> str:
        return "kvm" if self.kvm else "tcg"

    @property
    def clock(self) -> str:
        """Return whose time the guest's clock shows: the host's, or its own instructions'."""
        return "real" if self.kvm else "virtual"

    @property
    def volume_in_memory(self) -> bool:
        return all(image.in_memory for image in self._images.values())

    def url(self, guest_port: int) -> str:
        """Return the host's address of a published guest port."""
        return f"http://127.0.0.1:{self._ports[guest_port]}"

    def close(self) -> None:
        self._calls.shutdown(wait=False, cancel_futures=True)
        self._api.close()
        self._control.close()

    # --- Pods -----------------------------------------------------------------------------------

    def create_pod(self, manifest: JsonObject) -> JsonObject:
        """Create a pod on the node; raises `TwinError` with the API server's reason when refused."""
        return self._call(self._api, "POST", f"/api/v1/namespaces/{NAMESPACE}/pods", json=manifest)

    def pod(self, name: str) -> JsonObject | None:
        """Return a pod, or None when there is none of that name."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}"
        answer = self._request(self._api, "GET", path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return self._body(answer, "GET", path)

    def pods(self) -> list[JsonObject]:
        listing = self._call(self._api, "GET", f"/api/v1/namespaces/{NAMESPACE}/pods")
        return cast("list[JsonObject]", listing["items"])

    def delete_pod(self, name: str, *, timeout_s: float = 90.0) -> None:
        """Delete a pod and wait until its cgroups are gone; a pod that is not there is fine."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}"
        answer = self._request(self._api, "DELETE", path)
        if answer.status_code != httpx.codes.NOT_FOUND:
            self._body(answer, "DELETE", path)
        if not self._await_pod(name, "gone", timeout_s)["over"]:
            raise TwinError(f"pod {name} was still there after {timeout_s:.0f} s of the guest's time")

    def log(self, name: str, *, tail_lines: int | None = None) -> str:
        query = {} if tail_lines is None else {"tailLines": str(tail_lines)}
        answer = self._request(
            self._api, "GET", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/log", {"params": query}
        )
        return answer.text if answer.is_success else ""

    def wait_ready(self, name: str, *, timeout_s: float) -> None:
        """Wait for a pod's Ready condition; a pod that fails or vanishes raises with its log's tail.

        Starting means reading programs from the host, so the time-out is in the host's seconds.
        """
        pod = self.await_start(name, "ready", timeout_s=timeout_s)
        if pod is not None and is_ready(pod):
            return
        if pod is not None and (reason := start_error(pod)):
            raise TwinError(f"pod {name} cannot start: {reason}")
        why = "; ".join(f"container {each} {reason}" for each, reason in failures_of(pod).items() if each)
        phase = "gone" if pod is None else phase_of(pod)
        raise TwinError(
            f"pod {name} ended before it was ready (phase {phase}{': ' + why if why else ''})\n"
            f"{self.log(name, tail_lines=15)}".rstrip()
        )

    def await_start(
        self, name: str, state: Literal["ready", "begun"], *, timeout_s: float
    ) -> JsonObject | None:
        """Wait until a pod is ready, or its init containers are done, or it never will be; return it.

        Starting means reading programs from the host, so the time-out is in the host's seconds.
        """
        asked: JsonObject = {"name": name, "state": state, "timeout_s": None}
        answer = self._control_call("/await-pod", asked, host_timeout_s=timeout_s)
        return cast("JsonObject | None", answer["pod"])

    def wait_ended(self, name: str, *, timeout_s: float) -> str:
        """Wait until a pod has run to its end and return its phase, `gone` where it was deleted."""
        answer = self._await_pod(name, "ended", timeout_s)
        pod = cast("JsonObject | None", answer["pod"])
        if not answer["over"]:
            raise TwinError(
                f"pod {name} had not ended after {timeout_s:.0f} s of the guest's time\n"
                + self.log(name, tail_lines=15)
            )
        return "gone" if pod is None else phase_of(pod)

    def _await_pod(self, name: str, state: str, timeout_s: float) -> JsonObject:
        asked: JsonObject = {"name": name, "state": state, "timeout_s": timeout_s}
        return self._control_call("/await-pod", asked, waits_s=timeout_s)

    def put_config_map(self, name: str, data: Mapping[str, str]) -> None:
        """Create or replace a ConfigMap in the twin's namespace."""
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
        document = {"metadata": {"name": name, "namespace": NAMESPACE}, "data": dict(data)}
        answer = self._request(self._api, "POST", path, {"json": document})
        if answer.status_code == httpx.codes.CONFLICT:
            self._call(
                self._api,
                "PATCH",
                f"{path}/{name}",
                content=json.dumps({"data": dict(data)}),
                headers={"Content-Type": "application/merge-patch+json"},
            )
        else:
            self._body(answer, "POST", path)

    def config_map(self, name: str) -> JsonObject | None:
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{name}"
        answer = self._request(self._api, "GET", path)
        return None if answer.status_code == httpx.codes.NOT_FOUND else self._body(answer, "GET", path)

    def events(self) -> list[JsonObject]:
        listing = self._call(self._api, "GET", f"/api/v1/namespaces/{NAMESPACE}/events")
        return cast("list[JsonObject]", listing["items"])

    # --- The agent ------------------------------------------------------------------------------

    def quiesce(self) -> None:
        """Write back, drop the volumes' caches, wait for idle devices; raises TwinError if they stay busy."""
        self._control_call("/quiesce", {})

    def knobs(self) -> JsonObject:
        """Return every I/O knob that a controller may turn, by file."""
        return self._call(self._control, "GET", "/knobs")

    def cgroups(self) -> JsonObject:
        """Return the knobs of every pod cgroup (`node_twin.guest.cgrouptree`)."""
        return self._call(self._control, "GET", "/cgroups")

    def environment(self) -> JsonObject:
        return self._call(self._control, "GET", "/environment")

    def sample(self) -> JsonObject:
        """Return every knob and counter of the node as they are now."""
        return self._call(self._control, "GET", "/sample")

    def now_s(self) -> float:
        """Return the guest's monotonic clock."""
        return cast(float, self._call(self._control, "GET", "/now")["monotonic_s"])

    def unix_ahead_s(self) -> float:
        """Return what the guest's calendar clock is ahead of its monotonic one."""
        now = cast("Mapping[str, float]", self._call(self._control, "GET", "/now"))
        return now["unix_s"] - now["monotonic_s"]

    @contextlib.contextmanager
    def exact(self) -> Iterator[None]:
        """Have an emulated guest's clock count instructions alone, idle or not, while the context lasts."""
        self._control_call("/exact", {"on": True})
        try:
            yield
        finally:
            self._control_call("/exact", {"on": False})

    def wait(self, seconds: float) -> float:
        """Let so many of the guest's seconds pass; return its monotonic clock then."""
        answer = self._control_call("/wait", {"seconds": seconds}, waits_s=seconds)
        return cast(float, answer["monotonic_s"])

    def wait_moved(self, name: str, size_bytes: int, *, timeout_s: float) -> float | None:
        """Wait until a pod has read and written so much; return when, None where it ended before.

        It may still be starting, so the time-out is in the host's seconds.
        """
        asked: JsonObject = {"name": name, "bytes": size_bytes}
        answer = self._control_call("/await-bytes", asked, host_timeout_s=timeout_s)
        return cast(float, answer["t_s"]) if cast(int, answer["bytes"]) >= size_bytes else None

    def record(
        self, seconds: float, *, until_ended: Sequence[str] = (), on_elapsed: OnElapsed = lambda _: None
    ) -> list[JsonObject]:
        """Return samples of the next so many seconds, of fewer once all of the pods named have ended.

        Raises TwinError where one of them has not ended by then.
        """
        answer = self._recorded(seconds, until_ended, None, on_elapsed)
        return cast("list[JsonObject]", answer["samples"])

    def record_pod(
        self, manifest: JsonObject, *, within_s: float, on_elapsed: OnElapsed = lambda _: None
    ) -> tuple[list[JsonObject], int]:
        """Start a pod once samples are taken; return these when it has ended, within so many seconds.

        And how often the host was asked for a file meanwhile.
        """
        name = cast("Mapping[str, str]", manifest["metadata"])["name"]
        answer = self._recorded(within_s, [name], manifest, on_elapsed)
        return cast("list[JsonObject]", answer["samples"]), cast(int, answer["host_file_requests"])

    def _recorded(
        self, seconds: float, until_ended: Sequence[str], start: JsonObject | None, on_elapsed: OnElapsed
    ) -> JsonObject:
        asked: JsonObject = {"seconds": seconds, "until_ended": list(until_ended), "start": start}
        answer = self._control_call("/record", asked, on_elapsed, waits_s=seconds)
        if not answer["over"]:
            raise TwinError(
                f"{', '.join(until_ended)}: not ended after {seconds:.0f} s of the guest's time",
                hint="bound its work",
            )
        return answer

    def load(
        self, plan: JsonObject, *, scrape: Sequence[int] = (), on_elapsed: OnElapsed = lambda _: None
    ) -> JsonObject:
        """Run one plan of load in the guest: its record, the samples around it, and what it cost.

        With the metrics pages of the guest's ports in `scrape`.
        """
        return self._control_call("/load", {"plan": plan, "scrape": list(scrape)}, on_elapsed)

    def stream(self, request: JsonObject) -> JsonObject:
        """Begin, hold, release or end a load that has no end of its own (node_twin.guest.load)."""
        return self._control_call("/stream", request)

    def collect(self) -> None:
        """Have the pods' logs and results copied to the output folder."""
        self._control_call("/collect", {})

    def set_limits(self, claim: str, *, iops: int, mib_s: int) -> None:
        """Change a volume's limits while it runs, as a volume modification does."""
        self.change_volume(f"modify {self._images[claim].serial} iops={iops} mib_s={mib_s}")

    def change_volume(self, command: str) -> str:
        """Send the volumes' server a command (`device/control.c`) and return its answer."""
        return cast(str, self._control_call("/volume", {"command": command})["answer"])

    # --- HTTP -----------------------------------------------------------------------------------

    def _control_call(
        self,
        path: str,
        arguments: JsonObject,
        on_elapsed: OnElapsed = lambda _: None,
        *,
        waits_s: float = 0.0,
        host_timeout_s: float | None = None,
    ) -> JsonObject:
        """Ask the agent for something; it may wait `waits_s` of its seconds, and `on_elapsed` gets them.

        With `host_timeout_s` its own clock decides nothing.
        """
        limit = (
            Limit(guest_s=waits_s + _ANSWERS_WITHIN_S)
            if host_timeout_s is None
            else Limit(host_s=host_timeout_s)
        )
        answer = self._request(
            self._control, "POST", path, {"json": arguments}, on_elapsed=on_elapsed, limit=limit
        )
        return self._body(answer, "POST", path)

    def _call(self, client: httpx.Client, method: str, path: str, **options: object) -> JsonObject:
        return self._body(self._request(client, method, path, options), method, path)

    def _request(
        self,
        client: httpx.Client,
        method: str,
        path: str,
        options: Mapping[str, object] | None = None,
        *,
        on_elapsed: OnElapsed = lambda _: None,
        limit: Limit | None = None,
    ) -> httpx.Response:
        """Send a request and wait for its answer, watching the guest."""
        self.guest.check()
        call: Future[httpx.Response] = self._calls.submit(client.request, method, path, **options or {})  # type: ignore[arg-type]  # httpx's own keywords
        self._watch.until_done(
            call, f"{method} {path}", on_elapsed, limit or Limit(guest_s=_ANSWERS_WITHIN_S)
        )
        try:
            return call.result()
        except httpx.TransportError as error:
            self.guest.check()
            raise GuestDied(
                f"the guest does not answer {method} {path}: {error}",
                console_tail=self.guest.console_tail(),
            ) from error

    def _body(self, answer: httpx.Response, method: str, path: str) -> JsonObject:
        if not answer.is_success:
            try:
                document = answer.json()
                reason = document.get("message") or document.get("error") or answer.text
            except ValueError:
                reason = answer.text
            raise TwinError(f"{method} {path} on the twin: {answer.status_code} {reason}")
        return cast(JsonObject, answer.json())


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How long an answer may take, by the guest's clock or, where that leaps, by the host's."""

    guest_s: float = math.inf
    host_s: float = math.inf


class Watch:
    """Watch a guest while something is waited for: that it lives, and that its clock moves."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def clock_s(self) -> float:
        """Return the guest's clock in whole seconds, by its emulated real-time clock."""
        now = cast("Mapping[str, int]", self._guest.qmp("qom-get", path="/machine", property="rtc-time"))
        return datetime(
            now["tm_year"] + 1900,
            now["tm_mon"] + 1,
            now["tm_mday"],
            now["tm_hour"],
            now["tm_min"],
            now["tm_sec"],
            tzinfo=UTC,
        ).timestamp()

    def until_done(
        self, call: Future[httpx.Response], what: str, on_elapsed: OnElapsed, limit: Limit
    ) -> None:
        """Return once the call is over; raises GuestDied when the guest ends, stands still or is too late."""
        if wait_for_all([call], timeout=_LOOK_EVERY_S).done:
            return
        begun_s = clock_s = self.clock_s()
        began_s = moved_s = time.monotonic()
        while not wait_for_all([call], timeout=_LOOK_EVERY_S).done:
            self._guest.check()
            now_s, clock_now_s = time.monotonic(), self.clock_s()
            if clock_now_s != clock_s:
                clock_s, moved_s = clock_now_s, now_s
                on_elapsed(clock_s - begun_s)
            if now_s - moved_s > _STUCK_AFTER_S:
                raise self._lost(f"the guest's clock has stood still for {_STUCK_AFTER_S:.0f} s at {what}")
            if clock_s - begun_s > limit.guest_s:
                raise self._lost(f"no answer to {what} within {limit.guest_s:.0f} s of the guest's time")
            if now_s - began_s > limit.host_s:
                raise self._lost(f"no answer to {what} within {limit.host_s:.0f} s")

    def _lost(self, why: str) -> GuestDied:
        return GuestDied(why, console_tail=self._guest.console_tail())


@dataclass(frozen=True, kw_only=True)
class Boot:
    """A twin on its way."""

    kvm: bool
    up: Callable[[], Twin]
    """Wait until its Pod API answers, and return it; raises BootError where it does not."""


@contextlib.contextmanager
def running(config: TwinConfig, *, report: Report = lambda _: None) -> Iterator[Twin]:
    """Boot a twin and yield it once its Pod API answers; everything of it ends with the context."""
    with booting(config, report=report) as boot:
        yield boot.up()


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What every guest of a configuration stands on, whatever its volumes hold."""

    kernel: Kernel
    kvm: bool
    volume_server: Path


def prepared(config: TwinConfig, *, report: Report = lambda _: None) -> Ground:
    """Fetch the kernel, find out whether KVM works, and compile what the guest runs; once for many boots."""
    config.output.mkdir(parents=True, exist_ok=True)
    with _alone_in(config.cache, report):
        kernel = ensure_kernel(config.cache / "kernel", config.kernel, report=report)
        kvm = config.kvm != "off" and kvm_works(
            kernel,
            cache=config.cache,
            output=config.output,
            repository=config.repository,
            report=report,
            insist=config.kvm == "on",
        )
        if config.kvm == "on" and not kvm:
            raise BootError(
                "no guest boots with KVM on this machine; "
                f"expected one to, as kvm is 'on' ({config.output / KVM_TRIAL_LOG})",
                hint="with `--kvm auto` the guest is emulated where KVM does not work",
            )
        report("compiling what the guest runs")
        compile_programs(config.repository)
        return Ground(kernel=kernel, kvm=kvm, volume_server=build_server(config.cache))


@contextlib.contextmanager
def _alone_in(cache: Path, report: Report) -> Iterator[None]:
    """Let one process at a time prepare what lies in a cache: the next one finds it there."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another twin, which is preparing what this one needs")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def booting(
    config: TwinConfig, *, ground: Ground | None = None, report: Report = lambda _: None
) -> Iterator[Boot]:
    """Start a twin and yield its boot, so that several boot at the same time.

    For a thread that lives as long as the twin does: QEMU ends with the thread that started it.
    """
    ground = ground or prepared(config, report=report)
    config.output.mkdir(parents=True, exist_ok=True)
    report("making the volume")
    pod_files = config.output / PODS_FOLDER
    pod_files.mkdir(exist_ok=True)
    with attached(list(config.volumes), spill_dir=config.cache / "volumes") as images:
        guest_ports = [API_PORT, CONTROL_PORT, *config.published_ports]
        ports = dict(zip(guest_ports, free_ports(len(guest_ports)), strict=True))
        agent = [
            *(sys.executable, "-m", "node_twin.guest.agent"),
            f"--volume-server={ground.volume_server}",
            *(f"--volume={image.guest_option()}" for image in images),
            *([] if ground.kvm else ["--virtual-time"]),
        ]
        guest_config = GuestConfig(
            kernel=ground.kernel,
            command=agent,
            cwd=config.repository,
            volumes=images,
            forwards=ports,
            shared_dirs={RESULTS_MOUNT: pod_files},
            cpus=CPUS_WITH_KVM if ground.kvm else 1,
            memory_mib=config.memory_mib,
            kvm=ground.kvm,
            kernel_arguments=config.kernel_arguments,
        )
        report("booting the guest" + ("" if ground.kvm else " (emulated: about half a minute)"))
        console = config.output / "console.log"
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(booted(guest_config, console=console))

            def up() -> Twin:
                guest = _until_up(
                    first,
                    lambda: stack.enter_context(booted(guest_config, console=console)),
                    f"http://127.0.0.1:{ports[API_PORT]}/version",
                    console,
                )
                return stack.enter_context(contextlib.closing(Twin(guest, images, ports, kvm=ground.kvm)))

            yield Boot(kvm=ground.kvm, up=up)


def _until_up(guest: Guest, again: Callable[[], Guest], url: str, console: Path) -> Guest:
    """Return the guest once it answers; one whose kernel panicked before is booted again.

    The console of a boot that panicked is kept beside `console`, with a number.
    """
    for attempt in range(1, BOOT_ATTEMPTS + 1):
        try:
            guest.wait_until(
                lambda: _answers(url), timeout_s=BOOT_TIMEOUT_S, what="answer from the twin's Pod API"
            )
        except BootError as error:
            if PANIC not in error.console_tail or attempt == BOOT_ATTEMPTS:
                raise
            guest.stop()
            console.rename(console.with_name(f"{console.stem}-panic-{attempt}{console.suffix}"))
            guest = again()
        else:
            guest.boots = attempt
            break
    return guest


def compile_programs(repository: Path) -> None:
    """Have byte code beside every source that the guest imports: it could not store what it compiles.

    Half a second where it is there already. An error in a source that nobody imports is no error.
    """
    packages = [file.parent for file in repository.glob("*/__init__.py")]
    places = [sysconfig.get_path("purelib"), *packages, *repository.glob("images/*/src")]
    command = [sys.executable, "-m", "compileall", "-qq", "-j", "0", "-x", _NEVER_IN_THE_GUEST]
    subprocess.run([*command, *map(str, places)], check=False)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).is_success
    except httpx.TransportError:
        return False


def kvm_works(
    kernel: Kernel, *, cache: Path, output: Path, repository: Path, report: Report, insist: bool = False
) -> bool:
    """Find out whether a guest really boots with KVM; `cache` remembers it until the host reboots.

    Where it is insisted on, an earlier failure is not believed.
    """
    note = cache / "kvm.json"
    here = [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), platform.node(), kernel.release]
    try:
        known = json.loads(note.read_text())
        if known["here"] == here and (known["boots"] or not insist):
            return bool(known["boots"])
    except (OSError, ValueError, KeyError):
        pass
    report("trying whether a guest boots with KVM here")
    trial = GuestConfig(kernel=kernel, command=["true"], cwd=repository)
    boots = kvm_boots(trial, console=output / KVM_TRIAL_LOG)
    note.write_text(json.dumps({"here": here, "boots": boots}))
    if not boots and not insist:
        report("no KVM here: the guest is emulated, in a time of its own")
    return boots
