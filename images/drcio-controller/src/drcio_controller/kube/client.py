"""Requests to the Kubernetes API, one method each.

On urllib3: imported and with a TLS context it costs 16 MiB of resident memory, httpx 24 MiB, the
standard library's http.client 11 MiB (Python 3.11, x86-64). The controller's budget is 50 MiB in
all. http.client would leave pooling, TLS verification defaults, chunk framing and timeouts per
phase to us.
"""

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError, TimeoutError

from .endpoint import Endpoint
from .errors import AnswerTooLarge, ApiRefused, ApiUnavailable, WatchBroken, refused
from .jsontypes import Json, JsonObject, object_at, objects_at, text_at

RequestObserver = Callable[[str, str], None]
"""Called once per request with its verb (list, watch, ...) and its result: a status code or a word."""

_MERGE_PATCH = "application/merge-patch+json"
_JSON = "application/json"

# What stands in an object beside its metadata is not sent at all; a server that cannot do so sends it.
_METADATA_ONLY = "application/json;as={kind};g=meta.k8s.io;v=v1,application/json"

# An object in etcd is at most 1.5 MiB; a line far above that is no watch event.
_LINE_LIMIT_BYTES = 16 << 20
# Decoded, JSON takes up to ten times its length. A page of usual pods is half a megabyte.
_ANSWER_LIMIT_BYTES = 4 << 20
_SINGLE_LIMIT_BYTES = 16 << 20
"""Of an answer that cannot be made smaller: one object."""

_ERROR_BODY_LIMIT_BYTES = 64 << 10
_RETRY_AFTER_LIMIT_S = 3600.0

# A peer that vanished without a FIN (a node or a NAT lost its state) is noticed within half a
# minute and not at the watch's own time-out.
_SOCKET_OPTIONS: list[tuple[int, int, int]] = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long to wait for the API server."""

    connect_s: float = 5.0
    read_s: float = 30.0
    watch_silence_s: float = 150.0
    """A watch that sent nothing for so long is taken for dead. Bookmarks come about once a minute."""


@dataclass(frozen=True)
class Page:
    """One answer to a list request."""

    resource_version: str
    items: list[JsonObject]
    continue_token: str


@dataclass(frozen=True)
class WatchEvent:
    """One line of a watch. ERROR lines are raised as ApiRefused instead."""

    type: str
    document: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What is asked of the API server."""

    verb: str
    """As RBAC and the metrics call it."""
    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: JsonObject | None = None
    content_type: str = _JSON
    accept: str = _JSON

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class KubeClient:
    """The few requests the controller makes. May be used by several threads."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeouts: Timeouts | None = None,
        observe: RequestObserver = lambda _verb, _result: None,
    ) -> None:
        self._endpoint = endpoint
        self._timeouts = timeouts or Timeouts()
        self._observe = observe
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=4,  # two watches, a list, an Event
            retries=False,  # the callers know better when and whether
            ca_certs=str(endpoint.ca_file) if endpoint.ca_file else None,
            socket_options=_SOCKET_OPTIONS,
        )

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()

    @property
    def pods(self) -> "Collection":
        """Return the pods of all namespaces."""
        return Collection(self, "/api/v1/pods")

    @property
    def namespaces(self) -> "Collection":
        """Return the namespaces; of each, its metadata are all that is sent."""
        return Collection(self, "/api/v1/namespaces", metadata_only=True)

    def node_labels(self, name: str) -> dict[str, str]:
        """Return one node's labels."""
        accept = _METADATA_ONLY.format(kind="PartialObjectMetadata")
        path = f"/api/v1/nodes/{quote(name, safe='')}"
        answer = self._json(_Request(verb="get", method="GET", path=path, accept=accept))
        labels = object_at(answer, "metadata", "labels")
        return {key: value for key, value in labels.items() if isinstance(value, str)}

    def get(self, path: str) -> JsonObject:
        """Return what the API has at a path."""
        return self._json(_Request(verb="get", method="GET", path=path))

    def merge(self, path: str, patch: JsonObject) -> JsonObject:
        """Merge `patch` into the object at a path, and return what it has become."""
        return self._json(
            _Request(verb="patch", method="PATCH", path=path, body=patch, content_type=_MERGE_PATCH)
        )

    def create_event(self, namespace: str, event: JsonObject) -> None:
        """Create a core/v1 Event."""
        path = f"/api/v1/namespaces/{namespace}/events"
        self._json(_Request(verb="create", method="POST", path=path, body=event))

    def patch_event(self, namespace: str, name: str, patch: JsonObject) -> None:
        """Merge `patch` into a core/v1 Event."""
        self.merge(f"/api/v1/namespaces/{namespace}/events/{name}", patch)

    def _open_watch(self, path: str, query: dict[str, str], accept: str) -> urllib3.BaseHTTPResponse:
        request = _Request(verb="watch", method="GET", path=path, query=query, accept=accept)
        response = self._open(request, self._timeouts.watch_silence_s)
        self._observe("watch", str(response.status))
        return response

    def _json(self, request: _Request, most_bytes: int = _SINGLE_LIMIT_BYTES) -> JsonObject:
        verb, response = request.verb, self._open(request, self._timeouts.read_s)
        try:
            text = response.read(most_bytes + 1)
            if len(text) > most_bytes:
                self._observe(verb, "too_large")
                raise AnswerTooLarge(f"{request}: the answer is longer than {most_bytes} bytes")
            document: Json = json.loads(text)
        except HTTPError as error:
            raise self._unavailable(verb, error) from error
        except (ValueError, RecursionError) as error:
            self._observe(verb, "protocol")
            raise ApiUnavailable(f"{request}: the answer is not JSON: {error}", "protocol") from error
        except AnswerTooLarge:
            response.close()
            raise
        finally:
            response.release_conn()
        self._observe(verb, str(response.status))
        if not isinstance(document, dict):
            raise ApiUnavailable(f"{request}: the answer is not a JSON object", "protocol")
        return document

    def _open(self, request: _Request, read_timeout_s: float) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": request.accept, "User-Agent": "drcio-controller"}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        token = self._endpoint.bearer_token()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = self._endpoint.url + request.path
        fields = {key: value for key, value in request.query.items() if value}
        if fields:
            url += "?" + urlencode(fields)
        try:
            response = self._pool.request(
                request.method,
                url,
                headers=headers,
                body=None if request.body is None else json.dumps(request.body).encode(),
                preload_content=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=self._timeouts.connect_s, read=read_timeout_s),
            )
        except HTTPError as error:
            raise self._unavailable(request.verb, error) from error
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            self._observe(request.verb, str(response.status))
            raise _refusal(response)
        return response

    def _unavailable(self, verb: str, error: HTTPError) -> ApiUnavailable:
        unavailable = _unavailable(error)
        self._observe(verb, unavailable.kind)
        return unavailable


class Collection:
    """One kind of object, to be listed and watched."""

    def __init__(self, client: KubeClient, path: str, *, metadata_only: bool = False) -> None:
        self._client = client
        self._path = path
        self._list_accept, self._watch_accept = (
            _METADATA_ONLY.format(kind=kind) if metadata_only else _JSON
            for kind in ("PartialObjectMetadataList", "PartialObjectMetadata")
        )

    def list(
        self,
        *,
        field_selector: str = "",
        resource_version: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> Page:
        """Return a page of objects.

        `resource_version` "0" lets the server answer from its cache, "" makes it read the latest
        state. A `limit` of 0 asks for everything at once.

        Raises AnswerTooLarge for a page of several objects that is longer than is read at once.
        """
        query = {
            "fieldSelector": field_selector,
            "resourceVersion": "" if continue_token else resource_version,
            "limit": str(limit) if limit else "",
            "continue": continue_token,
        }
        most_bytes = _SINGLE_LIMIT_BYTES if limit == 1 else _ANSWER_LIMIT_BYTES
        request = _Request(verb="list", method="GET", path=self._path, query=query, accept=self._list_accept)
        answer = self._client._json(request, most_bytes)
        return Page(
            resource_version=text_at(answer, "metadata", "resourceVersion"),
            items=objects_at(answer, "items"),
            continue_token=text_at(answer, "metadata", "continue"),
        )

    def watch(self, *, resource_version: str, timeout_s: int, field_selector: str = "") -> "Watch":
        """Open a watch that begins after `resource_version` and that the server ends after `timeout_s`."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_s),
            "fieldSelector": field_selector,
        }
        return Watch(self._client._open_watch(self._path, query, self._watch_accept))


class Watch:
    """An open watch: iterate it for events, `abort` it from another thread."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()

    def __iter__(self) -> Iterator[WatchEvent]:
        """Yield events until the server ends the watch.

        Raises Expired and other ApiRefused for an ERROR event, WatchBroken for anything that is not
        a whole line with an event, ApiUnavailable when the connection fails.
        """
        for line in self._lines():
            yield parse_watch_line(line)

    def abort(self) -> None:
        """Make the iterating thread see the end of the watch at once."""
        # Raises where the response has ended by itself; then there is nothing left to abort.
        try:
            self._response.shutdown()
        except (HTTPError, OSError, ValueError, RuntimeError):
            return

    def _lines(self) -> Iterator[bytes]:
        pending = bytearray()
        try:
            for chunk in self._response.stream(64 << 10, decode_content=True):
                pending += chunk
                *lines, rest = pending.split(b"\n")
                pending = rest
                for line in lines:
                    if line.strip():
                        yield bytes(line)
                if len(pending) > _LINE_LIMIT_BYTES:
                    raise WatchBroken(f"a watch line is longer than {_LINE_LIMIT_BYTES} bytes")
        except HTTPError as error:
            raise _unavailable(error) from error
        if pending.strip():
            raise WatchBroken("the watch ended in the middle of a line")


def parse_watch_line(line: bytes) -> WatchEvent:
    """Return the event in one line of a watch.

    Raises ApiRefused for an ERROR event and WatchBroken for anything else that is none.
    """
    try:
        event: Json = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WatchBroken(f"a watch line is not JSON: {error}") from error
    document = event.get("object") if isinstance(event, dict) else None
    kind = event.get("type") if isinstance(event, dict) else None
    if not isinstance(document, dict) or not isinstance(kind, str):
        raise WatchBroken("a watch line has no type and object")
    if kind == "ERROR":
        raise _status_refusal(document, fallback_code=HTTPStatus.INTERNAL_SERVER_ERROR)
    return WatchEvent(kind, document)


def _unavailable(error: HTTPError) -> ApiUnavailable:
    # NewConnectionError is a TimeoutError to urllib3; a refused connection is not one to us.
    if isinstance(error, NewConnectionError):
        kind = "connect"
    elif isinstance(error, TimeoutError | ReadTimeoutError):
        kind = "timeout"
    else:
        kind = "protocol"
    return ApiUnavailable(f"API server: {error}", kind)


def _refusal(response: urllib3.BaseHTTPResponse) -> ApiRefused:
    try:
        body = response.read(_ERROR_BODY_LIMIT_BYTES)
        document: Json = json.loads(body)
    except (HTTPError, ValueError, RecursionError):
        document = None
    finally:
        # Closed, not released: what is left of an error's body is not worth reading.
        response.close()
    return _status_refusal(
        document if isinstance(document, dict) else {},
        fallback_code=response.status,
        retry_after_s=_seconds(response.headers.get("Retry-After")),
    )


def _status_refusal(
    status: JsonObject, *, fallback_code: int, retry_after_s: float | None = None
) -> ApiRefused:
    code = status.get("code")
    details_s = object_at(status, "details").get("retryAfterSeconds")
    if retry_after_s is None and isinstance(details_s, int | float):
        retry_after_s = _bounded_s(details_s)
    return refused(
        code if isinstance(code, int) else fallback_code,
        text_at(status, "reason") or "Unknown",
        text_at(status, "message") or "no message",
        retry_after_s,
    )


def _seconds(header: str | None) -> float | None:
    # The HTTP-date form exists too; the API server sends seconds.
    return _bounded_s(float(header)) if header and header.isascii() and header.isdigit() else None


def _bounded_s(seconds: float) -> float | None:
    """Return a wait that can be waited for; whatever is in between speaks HTTP too."""
    return float(min(seconds, _RETRY_AFTER_LIMIT_S)) if seconds >= 0 else None
