"""Serve /metrics, /healthz, /readyz and /status over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from drcio_controller.status.model import Effect, NodeStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Where the handlers get their answers."""

    registry: CollectorRegistry
    status: Callable[[], NodeStatus]
    alive: Callable[[], bool]


def serve(address: tuple[str, int], probes: Probes) -> ThreadingHTTPServer:
    """Start serving in a daemon thread; the caller shuts the server down.

    Raises:
        OSError: the address is taken or not ours.
    """

    class Handler(_Handler):
        source = probes

    server = ThreadingHTTPServer(address, Handler)
    server.daemon_threads = True
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
        """Say nothing: a probe every few seconds is not news."""

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
