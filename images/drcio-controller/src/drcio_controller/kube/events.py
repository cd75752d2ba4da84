"""Events on pods: the same event again raises a count, a talkative pod is rate-limited.

The numbers are those of client-go's EventCorrelator (tools/record/events_cache.go): a burst of 25
per object, then one in five minutes. Sending happens in a thread of its own, because the control
loop must not wait for an API server; an event that cannot be sent is dropped and counted.
"""

import hashlib
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

from drcio_controller.loglimit import LogLimit

from .errors import Conflict, KubeError, NotFound
from .jsontypes import JsonObject
from .pod import Pod

log = logging.getLogger(__name__)

_QUEUE_LIMIT = 256
_REMEMBERED = 1024
_BURST, _REFILL_S = 25, 300.0
_MESSAGE_LIMIT_CHARS = 1024  # the API server refuses more


class EventType(StrEnum):
    """The two types Kubernetes knows."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class PodNotice:
    """Something worth telling about a pod."""

    namespace: str
    pod_name: str
    pod_uid: str
    type: EventType
    reason: str
    """UpperCamelCase, for machines."""
    message: str

    @property
    def event_name(self) -> str:
        """Return the Event's name: equal notices share one, also after a restart of the controller."""
        identity = "\0".join((self.pod_uid, self.type, self.reason, self.message))
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        # A name is at most 253 characters; a pod's name may be that long itself.
        return f"{self.pod_name[:236]}.{digest}"


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a notice was given, and since when."""

    count: int
    first_s: float


class Aggregator:
    """Count equal notices and hold back those of a talkative pod. Knows no API server."""

    def __init__(self, limit: LogLimit) -> None:
        self._limit = limit
        self._tallies: OrderedDict[str, Tally] = OrderedDict()

    def admit(self, notice: PodNotice, now_s: float) -> Tally | None:
        """Return the notice's tally with this one counted in, or None where it is held back."""
        name = notice.event_name
        known = self._tallies.pop(name, Tally(0, now_s))
        # Counted even where nothing is sent: the next one that is sent carries the true count.
        tally = self._tallies[name] = replace(known, count=known.count + 1)
        if len(self._tallies) > _REMEMBERED:
            self._tallies.popitem(last=False)
        return tally if self._limit.admits(notice.pod_uid) else None

    def forget(self, notice: PodNotice) -> None:
        """Start the notice's count anew; the server has dropped its Event."""
        self._tallies.pop(notice.event_name, None)


class EventSink(Protocol):
    """What the recorder asks of a client."""

    def create_event(self, namespace: str, event: JsonObject) -> None: ...

    def patch_event(self, namespace: str, name: str, patch: JsonObject) -> None: ...


class EventRecorder:
    """Send notices as Events, without ever blocking who gives them."""

    def __init__(
        self,
        sink: EventSink,
        *,
        component: str,
        node_name: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sink = sink
        self._source: JsonObject = {"component": component, "host": node_name}
        self._aggregator = Aggregator(LogLimit(burst=_BURST, refill_s=_REFILL_S, overall=_REMEMBERED))
        self._clock = clock
        self._queue: queue.Queue[PodNotice | None] = queue.Queue(_QUEUE_LIMIT)
        self._thread = threading.Thread(target=self._run, name="event-recorder", daemon=True)
        self.dropped = 0
        """Notices that never became an Event: held back, no room, or the API server was away."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Send what is queued, for at most `timeout_s`."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return  # as much is lost as with an API server that does not answer in time
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def notify(self, pod: Pod, kind: EventType, reason: str, message: str) -> None:
        """Queue a notice about `pod`."""
        notice = PodNotice(pod.namespace, pod.name, pod.uid, kind, reason, message[:_MESSAGE_LIMIT_CHARS])
        try:
            self._queue.put_nowait(notice)
        except queue.Full:
            self.dropped += 1

    def _run(self) -> None:
        while (notice := self._queue.get()) is not None:
            tally = self._aggregator.admit(notice, self._clock())
            if tally is None:
                self.dropped += 1
                continue
            try:
                self._send(notice, tally)
            except (KubeError, OSError) as error:
                self.dropped += 1
                log.warning(
                    "event=event_lost pod=%s/%s error=%r", notice.namespace, notice.pod_name, str(error)
                )

    def _send(self, notice: PodNotice, tally: Tally) -> None:
        now = _timestamp(self._clock())
        if tally.count > 1:
            try:
                patch: JsonObject = {"count": tally.count, "lastTimestamp": now}
                self._sink.patch_event(notice.namespace, notice.event_name, patch)
            except NotFound:  # Events live for an hour
                self._aggregator.forget(notice)
                tally = Tally(1, self._clock())
            else:
                return
        event: JsonObject = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": notice.event_name, "namespace": notice.namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": notice.namespace,
                "name": notice.pod_name,
                "uid": notice.pod_uid,
            },
            "type": notice.type.value,
            "reason": notice.reason,
            "message": notice.message,
            "source": self._source,
            "reportingComponent": self._source["component"],
            "reportingInstance": self._source["host"],
            "count": tally.count,
            "firstTimestamp": _timestamp(tally.first_s),
            "lastTimestamp": now,
        }
        try:
            self._sink.create_event(notice.namespace, event)
        except Conflict:  # an earlier life of this controller said the same
            self._sink.patch_event(
                notice.namespace, notice.event_name, {"count": tally.count, "lastTimestamp": now}
            )


def _timestamp(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
