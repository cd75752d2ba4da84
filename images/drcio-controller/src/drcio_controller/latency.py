"""Ask pods that name a target for their own latency, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import urllib3

from drcio_controller.histogram import Histogram, parse_histogram, percentile_between
from drcio_controller.pods import LatencySource, NodePod
from drcio_controller.policies.decision import Latency

log = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0
STALE_AFTER_S: Final = 5.0
_TIMEOUT_S: Final = 1.0
_BODY_LIMIT_BYTES: Final = 1 << 20

Fetch = Callable[[str], str]


def fetch(url: str) -> str:
    """Return the text behind a URL; raises urllib3's HTTPError or ValueError for anything but that."""
    response = urllib3.request(
        "GET", url, timeout=_TIMEOUT_S, retries=False, preload_content=False, redirect=False
    )
    try:
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        return response.read(_BODY_LIMIT_BYTES).decode(errors="replace")
    finally:
        response.close()


class LatencyWatch:
    """Keep every annotated pod's percentile over the last seconds."""

    def __init__(
        self, window_s: float, get: Fetch = fetch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._window_s = window_s
        self._get = get
        self._clock = clock
        self._sources: Mapping[str, LatencySource] = {}
        self._history: dict[str, deque[tuple[float, Histogram]]] = {}
        self._latest: Mapping[str, tuple[float, Latency]] = {}
        self._complained: set[str] = set()
        self._stop = threading.Event()

    def start(self) -> None:
        """Start asking."""
        threading.Thread(target=self._run, name="latency", daemon=True).start()

    def stop(self) -> None:
        """Stop asking."""
        self._stop.set()

    def latencies(self, pods: Mapping[str, NodePod], now_s: float) -> Mapping[str, Latency]:
        """Return what is known and fresh, and take note of whom to ask."""
        self._sources = {uid: pod.latency for uid, pod in pods.items() if pod.latency is not None}
        return {uid: entry for uid, (at_s, entry) in self._latest.items() if now_s - at_s < STALE_AFTER_S}

    def poll(self) -> None:
        """Ask everybody once."""
        sources = self._sources
        for uid in self._history.keys() - sources.keys():
            del self._history[uid]
        latest = {uid: entry for uid, entry in self._latest.items() if uid in sources}
        for uid, source in sources.items():
            now_s = self._clock()
            try:
                histogram = parse_histogram(self._get(source.url), source.metric)
            except (urllib3.exceptions.HTTPError, ValueError, OSError) as error:
                self._complain(source.url, repr(error))
                continue
            if not histogram:
                self._complain(source.url, f"no histogram {source.metric}")
                continue
            self._complained.discard(source.url)
            history = self._history.setdefault(uid, deque())
            history.append((now_s, histogram))
            while len(history) > 2 and now_s - history[1][0] >= self._window_s:
                history.popleft()
            measured_s = percentile_between(history[0][1], histogram, source.target.percentile)
            if measured_s is not None:
                latest[uid] = (now_s, Latency(measured_s=measured_s, limit_s=source.target.limit_s))
        self._latest = latest

    def _complain(self, url: str, problem: str) -> None:
        if url not in self._complained:
            self._complained.add(url)
            log.warning("no_latency url=%s error=%r", url, problem)

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self.poll()
