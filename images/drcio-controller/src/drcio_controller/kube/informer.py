"""Keep an up-to-date picture of some objects: list once, then watch, for ever.

The rules are those of Kubernetes' own reflector: resume a watch at the last resource version seen,
list again only when that has expired, back off with jitter. While the API server is away the last
known objects stay valid; nothing is forgotten because of silence.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from drcio_controller.loglimit import LogLimit

from .backoff import Backoff
from .client import Collection, Watch, WatchEvent
from .errors import (
    AnswerTooLarge,
    ApiRefused,
    ApiUnavailable,
    EndpointError,
    Expired,
    KubeError,
    ObjectMalformed,
    WatchBroken,
    kind_of,
)
from .jsontypes import JsonObject, text_at

log = logging.getLogger(__name__)

# Small pages bound the memory that decoding takes: a pod is 5 to 30 KiB of JSON. A server that
# answers from its cache may ignore the limit; it is then asked for the latest state, where it may not.
_PAGE_SIZE = 50

# Reflectors use 5 to 10 minutes; the spread keeps nodes from renewing their watches in step.
_WATCH_TIMEOUT_S = (300, 600)

# A watch that ends sooner than this without an event is a failure, or we would ask again in a loop.
_SHORTEST_WATCH_S = 1.0


class Identified(Protocol):
    """What is kept by uid."""

    @property
    def uid(self) -> str: ...


T = TypeVar("T", bound=Identified)


@dataclass(frozen=True, slots=True)
class InformerHealth:
    """How well the picture can be trusted."""

    synced: bool = False
    """Whether there has been a list at all."""
    failures_in_a_row: int = 0
    malformed: int = 0
    """Objects that were skipped; only grows."""
    last_error: str = ""


class Informer(Generic[T]):
    """A thread that lists and watches objects of one kind.

    `changed` is called in that thread after each change of `items()`, at once; it must not block. Every
    failure is logged, or those that `failure_lines`
    admits by their kind; informers that share one log a kind together.
    """

    def __init__(
        self,
        source: Collection,
        parse: Callable[[JsonObject], T],
        changed: Callable[[], None],
        *,
        field_selector: str = "",
        backoff: Backoff | None = None,
        failure_lines: LogLimit | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._parse_object = parse
        self._field_selector = field_selector
        self._changed = changed
        self._backoff = backoff or Backoff()
        self._failure_lines = failure_lines
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, keeps no secret
        self._clock = clock
        self._lock = threading.Lock()  # guards _items; the rest is replaced whole, by the thread alone
        self._items: dict[str, T] = {}
        self._health = InformerHealth()
        self._watch: Watch | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="informer", daemon=True)
        self._resource_version: str | None = None
        self._list_version = "0"
        self._page_size = _PAGE_SIZE
        self._skipped_lines = LogLimit(burst=1)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop the thread; give up waiting for it after `timeout_s`."""
        self._stop.set()
        watch = self._watch
        if watch is not None:
            watch.abort()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """Return whether the thread runs; a programming error in `changed` ends it."""
        return self._thread.is_alive()

    def items(self) -> Mapping[str, T]:
        """Return the last known objects by uid."""
        with self._lock:
            return dict(self._items)

    def health(self) -> InformerHealth:
        """Return how things stand."""
        return self._health

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._resource_version is None:
                    self._resource_version = self._list(self._list_version)
                else:
                    self._watch_from(self._resource_version)
            except (KubeError, OSError) as error:
                if not self._stop.is_set():
                    self._recover(error)

    def _list(self, at_least_version: str) -> str:
        """Replace the picture and return its resource version."""
        items: dict[str, T] = {}
        token = ""
        while True:
            page = self._source.list(
                field_selector=self._field_selector,
                resource_version=at_least_version,
                limit=self._page_size,
                continue_token=token,
            )
            items.update((item.uid, item) for item in map(self._parse, page.items) if item is not None)
            token = page.continue_token
            if not token:
                break
        with self._lock:
            self._items = items
        self._page_size = _PAGE_SIZE
        self._health = replace(self._health, synced=True, failures_in_a_row=0, last_error="")
        self._changed()
        return page.resource_version

    def _watch_from(self, resource_version: str) -> None:
        opened_s = self._clock()
        watch = self._source.watch(
            resource_version=resource_version,
            timeout_s=self._rng.randint(*_WATCH_TIMEOUT_S),
            field_selector=self._field_selector,
        )
        self._watch = watch
        received = 0
        try:
            with watch:
                if self._stop.is_set():  # stop() may have come before there was a watch to abort
                    return
                for event in watch:
                    self._take(event)
                    received += 1
        finally:
            self._watch = None
        if not received and self._clock() - opened_s < _SHORTEST_WATCH_S and not self._stop.is_set():
            raise ApiUnavailable("the watch ended as soon as it was opened", "protocol")

    def _take(self, event: WatchEvent) -> None:
        if event.type != "BOOKMARK":
            self._apply(event)
        self._health = replace(self._health, failures_in_a_row=0, last_error="")
        # Only now: what could not be taken must come again.
        self._resource_version = text_at(event.document, "metadata", "resourceVersion") or None

    def _apply(self, event: WatchEvent) -> None:
        if event.type == "DELETED":
            uid = text_at(event.document, "metadata", "uid")
            with self._lock:
                gone = self._items.pop(uid, None)
            if gone is not None:
                self._changed()
            return
        if event.type not in ("ADDED", "MODIFIED"):
            raise WatchBroken(f"watch event type is {event.type!r}; expected ADDED, MODIFIED or DELETED")
        item = self._parse(event.document)
        if item is None:
            return
        with self._lock:
            previous = self._items.get(item.uid)
            self._items[item.uid] = item
        if item != previous:  # most changes are of what is not kept: conditions, heartbeats, a mesh's notes
            self._changed()

    def _parse(self, document: JsonObject) -> T | None:
        try:
            return self._parse_object(document)
        except ObjectMalformed as error:
            self._health = replace(self._health, malformed=self._health.malformed + 1)
            if self._skipped_lines.admits(str(error)):
                log.warning("event=object_skipped error=%r", str(error))
            return None

    def _recover(self, error: KubeError | OSError) -> None:
        """Count the failure, choose where to go on, wait."""
        failures = self._health.failures_in_a_row + 1
        self._health = replace(self._health, failures_in_a_row=failures, last_error=str(error))
        self._choose_restart(error, failures)
        retry_after_s = error.retry_after_s if isinstance(error, ApiRefused) else None
        if isinstance(error, AnswerTooLarge):
            self._page_size = max(1, self._page_size // 2)
            self._list_version = ""
        delay_s = self._backoff.delay_s(failures, self._rng.random(), retry_after_s)
        if isinstance(error, AnswerTooLarge) or (isinstance(error, Expired) and failures == 1):
            delay_s = 0.0  # how a reflector is told to list again; nothing is overloaded
        if self._failure_lines is None or self._failure_lines.admits(kind_of(error)):
            hint = f" hint={error.hint!r}" if isinstance(error, EndpointError) else ""
            log.warning(
                "event=api_failure failures=%d retry_s=%.1f error=%r%s", failures, delay_s, str(error), hint
            )
        self._stop.wait(delay_s)

    def _choose_restart(self, error: KubeError | OSError, failures: int) -> None:
        """Decide whether to go on watching or to list again, and how fresh a list is needed."""
        listing = self._resource_version is None
        if listing:
            # The server's cache cannot answer for this version: expired, or not there yet (504
            # "Too large resource version", after a restore from backup). Read the latest state.
            if isinstance(error, Expired) or (isinstance(error, ApiRefused) and error.code == 504):
                self._list_version = ""
        elif isinstance(error, Expired) or (isinstance(error, WatchBroken) and failures > 1):
            # A watch that is spoiled twice at the same place: a list steps over what stands there.
            # Not older than what was seen: another API server's cache may lag behind.
            self._list_version = self._resource_version or ""
            self._resource_version = None
