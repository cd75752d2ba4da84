"""Scrape the workloads and the controller once a second, beside the load."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

import urllib3

from experiments.job import account
from experiments.job.counters import GrowingSum, Io
from experiments.job.errors import ScrapeError
from experiments.job.exposition import read
from experiments.records.jsonfields import JsonObject, JsonValue
from hp_service.manifest import ROW_BYTES

_ROWS: Final = "gnn_feature_rows_read_total"
_LP_BYTES: Final = "batch_io_bytes_total"
_LP_OPERATIONS: Final = "batch_io_operations_total"
_CONNECT_S: Final = 1.0
_READ_S: Final = 3.0
_BODY_MAX_BYTES: Final = 8 << 20
_INTERVAL_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where metrics are, as HOST:PORT; a host name may stand for several pods (a headless Service)."""

    hp: str
    lp: str | None
    controller: str | None
    namespace: str
    """Of the workloads, as the controller names it."""
    hp_app: str
    lp_app: str
    claim: str
    """Of the shared volume: stands for the device in a run without a controller, who knows the devices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was seen at one moment; a part is None where no pod answered."""

    at_s: float
    """By the monotonic clock."""
    hp: Io | None
    lp: Io | None
    account: JsonObject | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """How often each workload began anew in the run."""

    hp: int
    lp: int


class Web(Protocol):
    """Reaches pods."""

    def addresses(self, target: str) -> list[str]:
        """Return the HOST:PORT of every pod behind a HOST:PORT; none while there is no such name."""

    def get(self, url: str) -> str:
        """Return a page; raises ScrapeError."""


class PodWeb:
    """Reaches pods over HTTP, found by DNS."""

    def __init__(self) -> None:
        # No retries: the next look is a second away.
        self._pool = urllib3.PoolManager(
            retries=False, timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S)
        )

    def addresses(self, target: str) -> list[str]:
        parts = urlsplit(f"//{target}")
        try:
            found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
        except OSError:
            return []
        hosts = sorted({str(address[0]) for *_, address in found})
        return [f"[{host}]:{parts.port}" if ":" in host else f"{host}:{parts.port}" for host in hosts]

    def get(self, url: str) -> str:
        try:
            answer = self._pool.request("GET", url, preload_content=False)
            try:
                body = answer.read(_BODY_MAX_BYTES)
            finally:
                answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise ScrapeError(f"{url}: {error}") from error
        if answer.status != 200:
            raise ScrapeError(f"{url}: status {answer.status}; expected 200")
        return body.decode("utf-8", errors="replace")


class Observer:
    """Look once a second, in a thread, from `start` to `stop`; `look` is one look."""

    def __init__(self, sources: Sources, web: Web, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures = 0
        self.first_failure = ""
        self._sources = sources
        self._web = web
        self._clock = clock
        self._hp, self._lp = GrowingSum(), GrowingSum()
        self._observations: list[Observation] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    @property
    def observations(self) -> tuple[Observation, ...]:
        return tuple(self._observations)

    @property
    def restarts(self) -> Restarts:
        """Return how often each workload was started anew since `start`."""
        return Restarts(hp=self._hp.restarts, lp=self._lp.restarts)

    def start(self) -> None:
        """Begin to keep observations; the pods that are there now are the ones that belong here."""
        self._observations.append(self.look())
        self._hp.settled()
        self._lp.settled()
        self._thread.start()

    def stop(self) -> None:
        """Take a last look and end."""
        self._stop.set()
        self._thread.join()
        self._observations.append(self.look())

    def look(self) -> Observation:
        """Ask every source once."""
        began_s = self._clock()
        hp = self._io(self._sources.hp, self._hp, _hp_io)
        lp = None if self._sources.lp is None else self._io(self._sources.lp, self._lp, _lp_io)
        ended_s = self._clock()
        return Observation(at_s=(began_s + ended_s) / 2, hp=hp, lp=lp, account=self._account())

    def _run(self) -> None:
        due_s = self._clock()
        while not self._stop.is_set():
            self._observations.append(self.look())
            due_s = max(due_s + _INTERVAL_S, self._clock())
            self._stop.wait(due_s - self._clock())

    def _io(self, target: str, total: GrowingSum, parse: Callable[[str], Io]) -> Io | None:
        pods = {address: parse(page) for address, page in self._pages(target, "/metrics")}
        return total.update(pods) if pods else None

    def _account(self) -> JsonObject | None:
        """Return the account of the node that has the workloads; there is an agent on every node."""
        if self._sources.controller is None:
            return None
        for address, page in self._pages(self._sources.controller, "/status"):
            try:
                status: JsonValue = json.loads(page)
            except ValueError:
                self._note(f"http://{address}/status: not JSON")
                continue
            if isinstance(status, Mapping):
                found = account.cut(
                    status,
                    namespace=self._sources.namespace,
                    apps=(self._sources.hp_app, self._sources.lp_app),
                )
                if found is not None:
                    return found
        return None

    def _pages(self, target: str, path: str) -> Iterable[tuple[str, str]]:
        for address in self._web.addresses(target):
            try:
                yield address, self._web.get(f"http://{address}{path}")
            except ScrapeError as error:
                self._note(str(error))

    def _note(self, failure: str) -> None:
        self.failures += 1
        self.first_failure = self.first_failure or failure


def _hp_io(page: str) -> Io:
    rows = sum(int(reading.value) for reading in read(page, {_ROWS}))
    return Io(rbytes=rows * ROW_BYTES, rios=rows)


def _lp_io(page: str) -> Io:
    sums: Counter[tuple[str, str]] = Counter()
    for reading in read(page, {_LP_BYTES, _LP_OPERATIONS}):
        sums[reading.name, reading.labels.get("op", "")] += int(reading.value)
    return Io(
        rbytes=sums[_LP_BYTES, "read"],
        wbytes=sums[_LP_BYTES, "write"],
        rios=sums[_LP_OPERATIONS, "read"],
        wios=sums[_LP_OPERATIONS, "write"],
    )
