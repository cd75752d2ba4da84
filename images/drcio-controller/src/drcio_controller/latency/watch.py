"""Ask pods that name a target for their own latency, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from drcio_controller.latency.histogram import Histogram, parse_histogram, percentile_between
from drcio_controller.latency.scrape import fetch
from drcio_controller.law.decision import Latency
from drcio_controller.loglimit import LogLimit
from drcio_controller.pods.nodepod import LatencySource, NodePod

log = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0
STALE_AFTER_S: Final = 5.0

SLOWEST_SHARE: Final = 20.0
"""A pod is asked again after at least so many times what its answer took: a slow one has no claim on the
time in which the others are asked."""

BACKOFF_LIMIT_S: Final = 60.0
"""A pod that does not answer is asked after 1, 2, 4, ... seconds, at last this many."""

ROUND_LIMIT_S: Final = 1.0
"""A round begins with nobody after this long. In its first half those that answer are asked, the quick ones
first, so that a hundred pods that are slow on purpose keep each other waiting and nobody else; in its second
half those that have waited longest, so that one that was never asked is found out to be quick."""

ROUND_LIMIT_CPU_S: Final = 0.2
"""And after so much work of its own: a megabyte of one histogram from each of a hundred pods takes seconds to
read, which are the control loop's."""

_EARLY_S: Final = 0.1
"""The thread wakes a little early at times, and would then leave a pod out for a whole round."""

Fetch = Callable[[str], str]


@dataclass(slots=True)
class _Asked:
    """What is known of one pod's answers."""

    due_s: float = float("-inf")
    took_s: float | None = None
    """The last answer; None of one that has not answered, or not any more."""
    failures: int = 0
    history: deque[tuple[float, Histogram]] = field(default_factory=deque)
    url: str = ""


class LatencyWatch:
    """Keep every annotated pod's percentile over the last seconds."""

    def __init__(
        self, window_s: float, get: Fetch = fetch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._window_s = window_s
        self._get = get
        self._clock = clock
        self._sources: Mapping[str, LatencySource] = {}
        self._asked: dict[str, _Asked] = {}
        self._latest: Mapping[str, tuple[float, Latency]] = {}
        self._lines = LogLimit(burst=1, clock=clock)
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
        """Ask everybody whose time it is once."""
        sources = self._sources
        for uid in self._asked.keys() - sources.keys():
            del self._asked[uid]
        self._latest = {uid: entry for uid, entry in self._latest.items() if uid in sources}
        for uid, source in sources.items():
            if uid not in self._asked or self._asked[uid].url != source.url:
                self._asked[uid] = _Asked(url=source.url)
        began_s, worked_s = self._clock(), time.thread_time()
        answering = [uid for uid in sources if self._asked[uid].took_s is not None]
        quickest = sorted(answering, key=lambda uid: self._asked[uid].took_s or 0.0)
        longest_waiting = sorted(sources, key=lambda uid: self._asked[uid].due_s)
        for order, part in ((quickest, 0.5), (longest_waiting, 1.0)):
            for uid in order:
                now_s = self._clock()
                if (
                    self._stop.is_set()
                    or now_s - began_s >= part * ROUND_LIMIT_S
                    or time.thread_time() - worked_s >= part * ROUND_LIMIT_CPU_S
                ):
                    break
                if now_s >= self._asked[uid].due_s:
                    latency = self._ask(self._asked[uid], sources[uid])
                    if latency is not None:
                        self._latest = {**self._latest, uid: (self._clock(), latency)}

    def _ask(self, asked: _Asked, source: LatencySource) -> Latency | None:
        began_s = self._clock()
        try:
            histogram = parse_histogram(self._get(source.url), source.metric)
            if not histogram:
                raise ValueError(f"no histogram {source.metric}")
        except (ValueError, OSError) as error:
            asked.failures += 1
            asked.took_s = None
            asked.due_s = self._clock() + min(BACKOFF_LIMIT_S, 2.0 ** min(asked.failures - 1, 30))
            if self._lines.admits(source.url):
                log.warning("no_latency url=%s error=%r", source.url, str(error))
            return None
        now_s = self._clock()
        asked.failures = 0
        asked.took_s = now_s - began_s
        asked.due_s = began_s + max(INTERVAL_S, SLOWEST_SHARE * asked.took_s) - _EARLY_S
        history = asked.history
        history.append((now_s, histogram))
        while len(history) > 2 and now_s - history[1][0] >= self._window_s:
            history.popleft()
        measured_s = percentile_between(history[0][1], histogram, source.target.percentile)
        if measured_s is None:
            return None
        return Latency(measured_s=measured_s, limit_s=source.target.limit_s)

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            try:
                self.poll()
            except Exception:
                # A pod's answer must not end what asks all the others.
                if self._lines.admits("poll"):
                    log.exception("latency_poll_failed")
