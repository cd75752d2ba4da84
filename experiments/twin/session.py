"""A node twin in use: boot it, talk to its Pod API and its agent, and be sure that it ends."""

from __future__ import annotations

import contextlib
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import httpx

from experiments.jsonfields import JsonObject
from experiments.twin.errors import GuestDied, TwinError
from experiments.twin.kernel import DEFAULT_KERNEL, Kernel, ensure_kernel
from experiments.twin.layout import API_PORT, CONTROL_PORT, NAMESPACE, PODS_FOLDER, RESULTS_MOUNT
from experiments.twin.vm import Guest, GuestConfig, booted_until, free_ports, kvm_boots
from experiments.twin.volume import VolumeImage, VolumeRequest, attached, build_server

BOOT_TIMEOUT_S = 240.0
"""About twenty times what boot and agent take emulated on two idle cores (13 s); machines are shared."""

KvmChoice = Literal["auto", "on", "off"]
Tell = Callable[[str], None]


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
    cpus: int = 1
    """More than one only with KVM: emulated CPUs take turns, and a wake-up on another waits for its turn."""
    memory_mib: int = 4096
    kernel: str = DEFAULT_KERNEL
    """A line of Debian's kernels, or the path of one of the user's own."""
    kvm: KvmChoice = "auto"
    kernel_arguments: Sequence[str] = ()
    agent_arguments: Sequence[str] = ()
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
        self._api = httpx.Client(base_url=self.url(API_PORT), timeout=60.0)
        self._control = httpx.Client(base_url=self.url(CONTROL_PORT), timeout=180.0)

    @property
    def accelerator(self) -> str:
        return "kvm" if self.kvm else "tcg"

    @property
    def volume_in_memory(self) -> bool:
        return all(image.in_memory for image in self._images.values())

    def url(self, guest_port: int) -> str:
        """Return the host's address of a published guest port."""
        return f"http://127.0.0.1:{self._ports[guest_port]}"

    def close(self) -> None:
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

    def patch_pod(self, name: str, patch: JsonObject) -> JsonObject:
        return self._call(
            self._api,
            "PATCH",
            f"/api/v1/namespaces/{NAMESPACE}/pods/{name}",
            content=json.dumps(patch),
            headers={"Content-Type": "application/merge-patch+json"},
        )

    def delete_pod(self, name: str, *, timeout_s: float = 90.0) -> None:
        """Delete a pod and wait until its cgroups are gone; a pod that is not there is fine."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}"
        answer = self._request(self._api, "DELETE", path)
        if answer.status_code != httpx.codes.NOT_FOUND:
            self._body(answer, "DELETE", path)
        self._wait(lambda: self.pod(name) is None, timeout_s, f"pod {name} to be gone")

    def log(self, name: str, *, tail_lines: int | None = None) -> str:
        query = {} if tail_lines is None else {"tailLines": str(tail_lines)}
        answer = self._request(
            self._api, "GET", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/log", params=query
        )
        return answer.text if answer.is_success else ""

    def wait_ready(self, name: str, *, timeout_s: float, tell: Tell = lambda _: None) -> None:
        """Wait for a pod's Ready condition; a pod that fails or vanishes raises with its log's tail."""
        deadline = time.monotonic() + timeout_s
        while True:
            pod = self.pod(name)
            phase = "gone" if pod is None else phase_of(pod)
            if pod is not None and is_ready(pod):
                return
            if phase in ("gone", "Failed", "Succeeded"):
                raise TwinError(
                    f"pod {name} ended before it was ready (phase {phase})\n{self.log(name, tail_lines=15)}"
                )
            if time.monotonic() > deadline:
                raise TwinError(
                    f"pod {name} was not ready within {timeout_s:.0f} s (phase {phase})\n"
                    + self.log(name, tail_lines=15)
                )
            if pod is not None and (reason := start_error(pod)):
                raise TwinError(f"pod {name} cannot start: {reason}")
            tell(f"waiting for {name}")
            time.sleep(0.5)

    def put_config_map(self, name: str, data: Mapping[str, str]) -> None:
        """Create or replace a ConfigMap in the twin's namespace."""
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
        document = {"metadata": {"name": name, "namespace": NAMESPACE}, "data": dict(data)}
        answer = self._request(self._api, "POST", path, json=document)
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
        """Sync, drop caches, wait for idle devices; raises TwinError when they stay busy."""
        self._call(self._control, "POST", "/quiesce")

    def knobs(self) -> JsonObject:
        """Return every I/O knob that a controller may turn, by file."""
        return self._call(self._control, "GET", "/knobs")

    def environment(self) -> JsonObject:
        return self._call(self._control, "GET", "/environment")

    def sample_count(self) -> int:
        """Return how many samples were taken until now: the index of the next one."""
        return cast(int, self._samples(1 << 60)["count"])

    def latest_sample(self) -> JsonObject | None:
        """Return the last sample taken, or nothing before the first."""
        samples = self.samples_since(max(self.sample_count() - 1, 0))
        return samples[-1] if samples else None

    def samples_since(self, index: int) -> list[JsonObject]:
        return cast("list[JsonObject]", self._samples(index)["samples"])

    def _samples(self, since: int) -> JsonObject:
        return self._call(self._control, "GET", "/samples", params={"since": str(since)})

    def clock_offset_s(self) -> float:
        """Return host monotonic minus guest monotonic, from the quickest of five round trips."""
        best_s, offset_s = float("inf"), 0.0
        for _ in range(5):
            before = time.monotonic()
            guest_s = cast(float, self._call(self._control, "GET", "/now")["monotonic_s"])
            after = time.monotonic()
            if after - before < best_s:
                best_s, offset_s = after - before, (before + after) / 2 - guest_s
        return offset_s

    def set_limits(self, claim: str, *, iops: int, mib_s: int) -> None:
        """Change a volume's limits while it runs, as a volume modification does."""
        self.change_volume(f"modify {self._images[claim].serial} iops={iops} mib_s={mib_s}")

    def change_volume(self, command: str) -> str:
        """Send the volumes' server a command (`device/control.c`) and return its answer."""
        answer = self._call(self._control, "POST", "/volume", params={"command": command})
        return cast(str, answer["answer"])

    # --- HTTP -----------------------------------------------------------------------------------

    def _wait(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise TwinError(f"waited {timeout_s:.0f} s for {what}")
            time.sleep(0.25)

    def _call(self, client: httpx.Client, method: str, path: str, **options: object) -> JsonObject:
        return self._body(self._request(client, method, path, **options), method, path)

    def _request(self, client: httpx.Client, method: str, path: str, **options: object) -> httpx.Response:
        self.guest.check()
        try:
            return client.request(method, path, **options)  # type: ignore[arg-type]  # httpx's own keywords
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


@contextlib.contextmanager
def running(config: TwinConfig, *, tell: Tell = lambda _: None) -> Iterator[Twin]:
    """Boot a twin and yield it once its Pod API answers; everything of it ends with the context."""
    kernel = ensure_kernel(config.cache / "kernel", config.kernel, tell=tell)
    config.output.mkdir(parents=True, exist_ok=True)
    kvm = _decide_kvm(config, kernel, tell)
    tell("making the volume")
    server = build_server(config.cache)
    pod_files = config.output / PODS_FOLDER
    pod_files.mkdir(exist_ok=True)
    with attached(list(config.volumes), spill_dir=config.cache / "volumes") as images:
        guest_ports = [API_PORT, CONTROL_PORT, *config.published_ports]
        ports = dict(zip(guest_ports, free_ports(len(guest_ports)), strict=True))
        agent = [
            *(sys.executable, "-m", "experiments.twin.agent"),
            f"--volume-server={server}",
            *(f"--volume={image.guest_option()}" for image in images),
            *config.agent_arguments,
        ]
        guest_config = GuestConfig(
            kernel=kernel,
            command=agent,
            cwd=config.repository,
            volumes=images,
            forwards=ports,
            shared_dirs={RESULTS_MOUNT: pod_files},
            cpus=config.cpus,
            memory_mib=config.memory_mib,
            kvm=kvm,
            kernel_arguments=config.kernel_arguments,
        )
        tell("booting the guest" + ("" if kvm else " (emulated: about half a minute)"))
        with (
            booted_until(
                guest_config,
                console=config.output / "console.log",
                ready=lambda: _answers(f"http://127.0.0.1:{ports[API_PORT]}/version"),
                timeout_s=BOOT_TIMEOUT_S,
                what="answer from the twin's Pod API",
            ) as guest,
            contextlib.closing(Twin(guest, images, ports, kvm=kvm)) as twin,
        ):
            yield twin


def is_ready(pod: JsonObject) -> bool:
    status = cast("Mapping[str, Sequence[Mapping[str, str]]]", pod.get("status") or {})
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions") or ()
    )


def start_error(pod: JsonObject) -> str:
    """Return why a container of the pod could not even be started; empty where none failed so."""
    status = cast(
        "Mapping[str, Sequence[Mapping[str, Mapping[str, Mapping[str, str]]]]]", pod.get("status") or {}
    )
    for container in status.get("containerStatuses") or ():
        ended = (container.get("lastState") or {}).get("terminated") or {}
        if ended.get("reason") == "StartError":
            return ended.get("message", "no message")
    return ""


def phase_of(pod: JsonObject) -> str:
    status = cast("Mapping[str, str]", pod.get("status") or {})
    return status.get("phase", "Pending")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).is_success
    except httpx.TransportError:
        return False


def _decide_kvm(config: TwinConfig, kernel: Kernel, tell: Tell) -> bool:
    """Use KVM where a guest really boots with it; the outcome is remembered until the host reboots."""
    if config.kvm != "auto":
        return config.kvm == "on"
    note = config.cache / "kvm.json"
    here = [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), platform.node(), kernel.release]
    try:
        known = json.loads(note.read_text())
        if known["here"] == here:
            return bool(known["boots"])
    except (OSError, ValueError, KeyError):
        pass
    tell("trying whether a guest boots with KVM here")
    trial = GuestConfig(kernel=kernel, command=["true"], cwd=config.repository)
    boots = kvm_boots(trial, console=config.output / "kvm-trial.log")
    note.write_text(json.dumps({"here": here, "boots": boots}))
    if not boots:
        tell("no KVM here: the guest is emulated, its CPU about 20 times slower than the machine's")
    return boots
