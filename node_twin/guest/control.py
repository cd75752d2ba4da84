"""The guest agent's control channel: a few JSON calls beside the Pod API, over the forwarded port.

GET  /now                      guest clocks, for mapping its samples onto a time line
GET  /sample                   every knob and counter, now
GET  /environment              kernel, devices by claim, schedulers
GET  /knobs                    every I/O knob that a controller may turn
GET  /cgroups                  every knob of every pod cgroup
POST /volume                   change a volume, or ask about it (device/control.c)
POST /quiesce                  write back, drop the volumes' caches, wait until the devices are idle
POST /exact                    execute idle time from now on, or no more
POST /wait                     let so many seconds pass
POST /await-pod                wait until a pod is ready, has ended or is gone
POST /await-bytes              wait until a pod has read and written so much
POST /load                     one run of load, with samples until one has closed the window
POST /record                   samples over so many seconds, or until pods have ended; may start one
POST /stream                   begin, hold, release or end a load that has no end of its own
POST /collect                  hand over the pods' logs and results

Whatever waits, waits here, by the guest's clock: the host sends one request and gets one answer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from node_twin.jsontypes import JsonObject

Handler = Callable[[JsonObject], JsonObject]
"""Takes a GET's query or a POST's JSON body."""


class ControlServer:
    """Serve `handlers`, keyed by "METHOD /path", in a thread of its own."""

    def __init__(self, handlers: Mapping[str, Handler], *, host: str, port: int) -> None:
        routes = dict(handlers)

        class Requests(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                self._answer("GET", {key: values[-1] for key, values in query.items()})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self._answer("POST", json.loads(body) if body else {})

            def log_message(self, format: str, *args: object) -> None:
                """Keep the console for what matters."""

            def _answer(self, method: str, arguments: JsonObject) -> None:
                path = urlsplit(self.path).path
                handler = routes.get(f"{method} {path}")
                if handler is None:
                    self._send(HTTPStatus.NOT_FOUND, {"error": f"no {method} {path}"})
                    return
                try:
                    self._send(HTTPStatus.OK, handler(arguments))
                except (OSError, ValueError) as error:
                    self._send(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)})

            def _send(self, status: HTTPStatus, document: JsonObject) -> None:
                body = json.dumps(document, separators=(",", ":")).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer((host, port), Requests)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
