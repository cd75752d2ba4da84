"""Serve /metrics, /healthz, /readyz and /status over HTTP, to whoever reaches the node's port.

That is every pod of the cluster: a connection costs a thread, so that there are few at a time, of one
address fewer, and none for long.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from drcio_controller.loglimit import LogLimit
from drcio_controller.status.model import Effect, NodeStatus

log = logging.getLogger(__name__)

CONNECTIONS_LIMIT: Final = 64
"""At a time; one more ends the oldest, which is never somebody's who asks and takes the answer."""

PEER_LIMIT: Final = 8
"""Of one address; one more is turned away."""

CONNECTION_LIMIT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Where the handlers get their answers."""

    registry: CollectorRegistry
    status: Callable[[], NodeStatus]
    alive: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class _Connection:
    """Who has been connected, and since when."""

    peer: str
    since_s: float


class Server(ThreadingHTTPServer):
    """A thread for each connection, and not many of them."""

    daemon_threads = True
    request_queue_size = CONNECTIONS_LIMIT

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, _Connection] = {}
        """The oldest first."""
        self._error_lines = LogLimit(burst=1)
        super().__init__(address, handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether a new connection is answered, and make room for it."""
        peer = str(client_address[0])
        with self._lock:
            if sum(one.peer == peer for one in self._connections.values()) >= PEER_LIMIT:
                return False
            if len(self._connections) >= CONNECTIONS_LIMIT:
                self._end(next(iter(self._connections)))
            self._connections[request] = _Connection(peer, time.monotonic())
        return True

    def service_actions(self) -> None:
        """End what has been connected for too long; called twice a second."""
        since_s = time.monotonic() - CONNECTION_LIMIT_S
        with self._lock:
            for request in [one for one, known in self._connections.items() if known.since_s < since_s]:
                self._end(request)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection as it is closed."""
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log little: who went away before the answer is no news, and may do so a thousand times a second."""
        error = sys.exception()
        if not isinstance(error, OSError) and self._error_lines.admits(type(error).__name__):
            log.error("answer_failed peer=%s", client_address[0], exc_info=error)

    def _end(self, request: socket.socket) -> None:
        """Let the thread of a connection see its end."""
        del self._connections[request]
        with suppress(OSError):  # it has ended by itself
            request.shutdown(socket.SHUT_RDWR)


def serve(address: tuple[str, int], probes: Probes) -> Server:
    """Start serving in a daemon thread; the caller shuts the server down.

    Raises:
        OSError: the address is taken or not ours.
    """

    class Handler(_Handler):
        source = probes

    server = Server(address, Handler)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    source: Probes
    timeout = 10

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/metrics":
                encoder, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, encoder(self.source.registry), content_type)
            case "/healthz":
                alive = self.source.alive()
                self._json(HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE, {"alive": alive})
            case "/readyz":
                status = self.source.status()
                self._json(
                    HTTPStatus.OK if status.synced else HTTPStatus.SERVICE_UNAVAILABLE, readiness(status)
                )
            case "/status":
                self._json(HTTPStatus.OK, self.source.status().to_json())
            case _:
                self._json(HTTPStatus.NOT_FOUND, {"error": "expected /metrics, /healthz, /readyz or /status"})

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a probe every few seconds is not news."""

    def _json(self, status: HTTPStatus, document: dict[str, object]) -> None:
        self._answer(status, json.dumps(document).encode(), "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def readiness(status: NodeStatus) -> dict[str, object]:
    """Return what somebody who asks whether the agent works wants to know.

    A node on which nothing can be made effective is ready all the same, and says so here: taking
    the agent out of service would not help it.
    """
    inert = [
        f"{pod.namespace}/{pod.name} on {entry.device}: {entry.why}"
        for pod in status.pods
        for entry in pod.devices
        if entry.effect is Effect.INERT
    ]
    return {
        "ready": status.synced,
        "standby": status.standby,
        "policy": status.policy,
        "managed_pods": sum(pod.weight is not None for pod in status.pods),
        "engines": {entry.device: entry.engine for entry in status.devices},
        "inert": inert,
        "problems": list(status.problems),
        "config_error": status.config_error,
    }
