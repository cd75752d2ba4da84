"""A booted twin: its Pod API and its agent, as methods."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, cast

import httpx

from node_twin.errors import GuestDied, TwinError
from node_twin.host.vm import Guest
from node_twin.host.watch import Limit, OnElapsed, Watch
from node_twin.jsontypes import JsonObject
from node_twin.layout import API_PORT, CONTROL_PORT, NAMESPACE
from node_twin.podstatus import failures_of, is_ready, phase_of, start_error
from node_twin.volume.image import VolumeImage

_ANSWERS_WITHIN_S = 1800.0
"""Of the guest's time, beyond what it was asked to wait; an idle guest gets there in a minute or two."""
_UNTIMED = httpx.Timeout(None)
"""The host's clock decides nothing: `Watch` does, by the guest's."""
_OF_NAMESPACE = f"/api/v1/namespaces/{NAMESPACE}"
_PODS = f"{_OF_NAMESPACE}/pods"


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
        return self._call(self._api, "POST", _PODS, json=manifest)

    def pod(self, name: str) -> JsonObject | None:
        """Return a pod, or None when there is none of that name."""
        path = f"{_PODS}/{name}"
        answer = self._request(self._api, "GET", path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return self._body(answer, "GET", path)

    def pods(self) -> list[JsonObject]:
        listing = self._call(self._api, "GET", _PODS)
        return cast("list[JsonObject]", listing["items"])

    def delete_pod(self, name: str, *, timeout_s: float = 90.0) -> None:
        """Delete a pod and wait until its cgroups are gone; a pod that is not there is fine."""
        path = f"{_PODS}/{name}"
        answer = self._request(self._api, "DELETE", path)
        if answer.status_code != httpx.codes.NOT_FOUND:
            self._body(answer, "DELETE", path)
        if not self._await_pod(name, "gone", timeout_s)["over"]:
            raise TwinError(f"pod {name} was still there after {timeout_s:.0f} s of the guest's time")

    def log(self, name: str, *, tail_lines: int | None = None) -> str:
        query = {} if tail_lines is None else {"tailLines": str(tail_lines)}
        answer = self._request(self._api, "GET", f"{_PODS}/{name}/log", {"params": query})
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
        path = f"{_OF_NAMESPACE}/configmaps"
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
        path = f"{_OF_NAMESPACE}/configmaps/{name}"
        answer = self._request(self._api, "GET", path)
        return None if answer.status_code == httpx.codes.NOT_FOUND else self._body(answer, "GET", path)

    def events(self) -> list[JsonObject]:
        listing = self._call(self._api, "GET", f"{_OF_NAMESPACE}/events")
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
