"""The HTTP routes of the API server, on starlette."""

import asyncio
import contextlib
import functools
import itertools
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from drcio_controller.kube.jsontypes import Json, JsonObject, object_at, text_at

from .faults import Faults
from .selectors import Selector, SelectorError, matches, parse_field_selector, parse_label_selector
from .store import Change, PodStore, Resource, StoreError, expired

LogReader = Callable[[str, str, str, int | None], bytes]
"""(namespace, pod, container or "", number of last lines or None) -> the log; may raise StoreError."""

_MERGE_PATCH = "application/merge-patch+json"
_SNAPSHOTS_KEPT = 16
_VERSION = "v1.35.0+drcio-testing"


@dataclass(kw_only=True)
class ApiOptions:
    """What distinguishes one server from another."""

    token: str | None = None
    """Demanded as a bearer token where given."""
    bookmark_interval_s: float = 60.0
    watch_timeout_s: float = 1800.0
    """For a watch that names no timeoutSeconds."""
    read_log: LogReader | None = None
    forbid: Callable[[str], bool] = lambda path: False
    """Returns for which paths the client has no right."""
    faults: Faults = field(default_factory=Faults)


class WatchHub:
    """Wake this event loop's watches when the store changes, and end them when the server stops."""

    def __init__(self, store: PodStore) -> None:
        self.closing = False
        self._waiters: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsubscribe = store.subscribe(self.wake)

    def attach(self) -> asyncio.Event:
        """Return an event that is set at every change; call in the server's loop."""
        self._loop = asyncio.get_running_loop()
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        return waiter

    def detach(self, waiter: asyncio.Event) -> None:
        """Stop setting `waiter`."""
        self._waiters.discard(waiter)

    def wake(self) -> None:
        """Set all waiters; called from any thread."""
        loop = self._loop
        if loop is not None and self._waiters:
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
                loop.call_soon_threadsafe(self._set_all)

    def close(self) -> None:
        """End all watches; called from any thread."""
        self.closing = True
        self._unsubscribe()
        self.wake()

    def _set_all(self) -> None:
        for waiter in self._waiters:
            waiter.set()


def create_app(store: PodStore, options: ApiOptions | None = None) -> Starlette:
    """Return the ASGI application that serves `store`.

    `app.state.hub.close()` ends its open watches.
    """
    options = options or ApiOptions()
    hub = WatchHub(store)
    api = _Api(store, options, hub)
    guard = functools.partial(_guarded, options)
    routes = [Route("/version", guard(_version))]
    for resource in Resource:
        collection = guard(functools.partial(api.collection, resource))
        item = guard(functools.partial(api.item, resource))
        own = "/api/v1"
        if resource.namespaced:
            routes.append(Route(f"{own}/{resource}", collection, methods=["GET"]))
            own += "/namespaces/{namespace}"
        routes += [
            Route(f"{own}/{resource}", collection, methods=["GET", "POST"]),
            Route(f"{own}/{resource}/{{name}}", item, methods=["GET", "PATCH", "DELETE"]),
        ]
    routes.append(Route("/api/v1/namespaces/{namespace}/pods/{name}/log", guard(api.log)))
    app = Starlette(routes=routes)
    app.state.hub = hub
    return app


Handler = Callable[[Request], Awaitable[Response]]


def _guarded(options: ApiOptions, endpoint: Handler) -> Handler:
    """Put delays, injected failures and the token check before `endpoint`; turn errors into Statuses."""

    async def handle(request: Request) -> Response:
        if options.faults.delay_s:
            await asyncio.sleep(options.faults.delay_s)
        if options.faults.failures:
            failure = options.faults.failures.popleft()
            error = StoreError(failure.code, failure.code.phrase.replace(" ", ""), "injected failure")
            return _refuse(error, failure.retry_after_s)
        if options.token is not None and request.headers.get("authorization") != f"Bearer {options.token}":
            return _refuse(StoreError(HTTPStatus.UNAUTHORIZED, "Unauthorized", "Unauthorized"))
        if options.forbid(request.url.path):
            return _refuse(StoreError(HTTPStatus.FORBIDDEN, "Forbidden", f"no right to {request.url.path}"))
        try:
            return await endpoint(request)
        except StoreError as refusal:
            return _refuse(refusal)
        except SelectorError as refusal:
            return _refuse(StoreError(HTTPStatus.BAD_REQUEST, "BadRequest", str(refusal)))

    return handle


def _refuse(error: StoreError, retry_after_s: int | None = None) -> Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return JSONResponse(error.status(retry_after_s), int(error.code), headers)


async def _version(_request: Request) -> Response:
    return JSONResponse({"major": "1", "minor": "35", "gitVersion": _VERSION, "platform": "linux/amd64"})


class _Api:
    def __init__(self, store: PodStore, options: ApiOptions, hub: WatchHub) -> None:
        self._store = store
        self._options = options
        self._hub = hub
        self._snapshots: OrderedDict[str, tuple[int, list[JsonObject]]] = OrderedDict()
        self._tokens = itertools.count(1)

    async def collection(self, resource: Resource, request: Request) -> Response:
        namespace: str | None = request.path_params.get("namespace")
        if request.method == "POST":
            created = self._store.create(resource, namespace or "", await _body(request))
            return JSONResponse(created, HTTPStatus.CREATED)
        query = _Query.of(request)
        if query.watch:
            return _WatchResponse(self._watch(resource, namespace, query), self._options.faults)
        return self._list(resource, namespace, query)

    async def item(self, resource: Resource, request: Request) -> Response:
        namespace, name = request.path_params.get("namespace", ""), request.path_params["name"]
        match request.method:
            case "PATCH":
                content_type = request.headers.get("content-type", "").partition(";")[0]
                if content_type != _MERGE_PATCH:
                    message = f"patch type is {content_type!r}; expected {_MERGE_PATCH!r}"
                    raise StoreError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
                answer = self._store.patch(resource, namespace, name, await _body(request))
            case "DELETE":
                answer = self._store.delete(resource, namespace, name, await _grace_period_s(request))
            case _:
                answer = self._store.get(resource, namespace, name)
        return JSONResponse(answer)

    async def log(self, request: Request) -> Response:
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        self._store.get(Resource.PODS, namespace, name)
        if self._options.read_log is None:
            raise StoreError(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", "this server keeps no logs")
        container = request.query_params.get("container", "")
        tail = _integer(request, "tailLines")
        text = await asyncio.to_thread(self._options.read_log, namespace, name, container, tail)
        return PlainTextResponse(text)

    def _list(self, resource: Resource, namespace: str | None, query: "_Query") -> Response:
        if query.continue_token:
            snapshot = self._snapshots.pop(query.continue_token, None)
            if snapshot is None:
                message = "The provided continue parameter is too old or unknown"
                raise StoreError(HTTPStatus.GONE, "Expired", message)
            version, remaining = snapshot
        else:
            version, everything = self._store.all(resource, namespace)
            remaining = [o for o in everything if matches(o, query.labels, query.fields)]
        metadata: JsonObject = {"resourceVersion": str(version)}
        page = remaining
        if query.limit and len(remaining) > query.limit:
            page, rest = remaining[: query.limit], remaining[query.limit :]
            token = f"page-{next(self._tokens)}"
            self._snapshots[token] = (version, rest)
            if len(self._snapshots) > _SNAPSHOTS_KEPT:
                self._snapshots.popitem(last=False)
            metadata |= {"continue": token, "remainingItemCount": len(rest)}
        return JSONResponse(
            {"kind": f"{resource.kind}List", "apiVersion": "v1", "metadata": metadata, "items": page}
        )

    async def _watch(
        self, resource: Resource, namespace: str | None, query: "_Query"
    ) -> AsyncIterator[JsonObject]:
        """Yield watch events; a bookmark now and then, and as the last one."""
        store, loop = self._store, asyncio.get_running_loop()
        ends_s = loop.time() + (query.timeout_s or self._options.watch_timeout_s)
        changed = self._hub.attach()
        try:
            version = query.version
            if version is None or version == 0:
                version, everything = store.all(resource, namespace)
                for document in everything:
                    if matches(document, query.labels, query.fields):
                        yield {"type": "ADDED", "object": document}
            while not self._hub.closing and (now_s := loop.time()) < ends_s:
                changed.clear()
                head = store.version
                try:
                    if version > head:
                        raise expired(version, head)
                    changes = store.changes_since(resource, version)
                except StoreError as error:
                    yield {"type": "ERROR", "object": error.status()}
                    return
                for change in changes:
                    version = change.version
                    if (event := _selected(change, namespace, query)) is not None:
                        yield event
                version = max(version, head)
                wait_s = min(ends_s - now_s, self._options.bookmark_interval_s)
                try:
                    async with asyncio.timeout(wait_s):
                        await changed.wait()
                except TimeoutError:
                    if query.bookmarks:
                        yield _bookmark(resource, version)
        finally:
            self._hub.detach(changed)


@dataclass(frozen=True, kw_only=True)
class _Query:
    """A list or watch request's parameters."""

    watch: bool
    bookmarks: bool
    version: int | None
    timeout_s: int | None
    limit: int | None
    continue_token: str
    labels: Selector
    fields: Selector

    @classmethod
    def of(cls, request: Request) -> "_Query":
        parameters = request.query_params
        return cls(
            watch=parameters.get("watch") in ("true", "1"),
            bookmarks=parameters.get("allowWatchBookmarks") in ("true", "1"),
            version=_integer(request, "resourceVersion"),
            timeout_s=_integer(request, "timeoutSeconds"),
            limit=_integer(request, "limit"),
            continue_token=parameters.get("continue", ""),
            labels=parse_label_selector(parameters.get("labelSelector", "")),
            fields=parse_field_selector(parameters.get("fieldSelector", "")),
        )


class _WatchResponse(Response):
    """Events as lines, sent as they come.

    Plain ASGI and not a StreamingResponse: a cut in mid-line must leave the response unfinished,
    so that the client sees a broken connection and not a proper end.
    """

    def __init__(self, events: AsyncIterator[JsonObject], faults: Faults) -> None:
        super().__init__(media_type="application/json")
        self._events = events
        self._faults = faults
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send_events(send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)

    async def _send_events(self, send: Send) -> None:
        async for event in self._events:
            line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
            if event["type"] != "BOOKMARK":
                if self._faults.delay_s:
                    await asyncio.sleep(self._faults.delay_s)
                if self._faults.garbage:
                    line = self._faults.garbage.popleft() + line
                if self._faults.cuts:
                    self._faults.cuts -= 1
                    await send(
                        {"type": "http.response.body", "body": line[: len(line) // 2], "more_body": True}
                    )
                    return
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _selected(change: Change, namespace: str | None, query: _Query) -> JsonObject | None:
    """Return the event that a watcher with this selection sees: leaving it looks like a deletion."""
    if namespace not in (None, text_at(change.document, "metadata", "namespace")):
        return None
    before = change.previous is not None and matches(change.previous, query.labels, query.fields)
    after = change.type != "DELETED" and matches(change.document, query.labels, query.fields)
    if before and after:
        return {"type": "MODIFIED", "object": change.document}
    if after:
        return {"type": "ADDED", "object": change.document}
    if before:
        return {"type": "DELETED", "object": change.document}
    return None


def _bookmark(resource: Resource, version: int) -> JsonObject:
    return {
        "type": "BOOKMARK",
        "object": {
            "kind": resource.kind,
            "apiVersion": "v1",
            "metadata": {"resourceVersion": str(version), "creationTimestamp": None},
        },
    }


async def _body(request: Request) -> JsonObject:
    try:
        document: Json = json.loads(await request.body())
    except ValueError as error:
        raise StoreError(HTTPStatus.BAD_REQUEST, "BadRequest", f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise StoreError(HTTPStatus.BAD_REQUEST, "BadRequest", "the body is not a JSON object")
    return document


async def _grace_period_s(request: Request) -> int | None:
    """Return the deletion's grace period: from the query, or from a DeleteOptions body."""
    from_query = _integer(request, "gracePeriodSeconds")
    if from_query is not None or not await request.body():
        return from_query
    value = object_at({"options": await _body(request)}, "options").get("gracePeriodSeconds")
    return value if isinstance(value, int) else None


def _integer(request: Request, name: str) -> int | None:
    text = request.query_params.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        message = f"{name} is {text!r}; expected a whole number"
        raise StoreError(HTTPStatus.BAD_REQUEST, "BadRequest", message)
    return int(text)
