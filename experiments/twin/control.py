"""The guest agent's control channel: a few JSON calls beside the Pod API, over the forwarded port.

GET  /now                      guest clocks, for mapping its samples onto the host's time line
GET  /samples?since=N          samples from index N on
GET  /environment              kernel, devices by claim, schedulers
GET  /knobs                    every I/O knob that a controller may turn
POST /quiesce                  sync, drop caches, wait until the devices are idle
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from experiments.jsonfields import JsonObject

Handler = Callable[[Mapping[str, str]], JsonObject]


class ControlServer:
    """Serve `handlers`, keyed by "METHOD /path", in a thread of its own."""

    def __init__(self, handlers: Mapping[str, Handler], *, host: str, port: int) -> None:
        routes = dict(handlers)

        class Requests(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer("GET")

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self._answer("POST")

            def log_message(self, format: str, *args: object) -> None:
                """Keep the console for what matters."""

            def _answer(self, method: str) -> None:
                url = urlsplit(self.path)
                handler = routes.get(f"{method} {url.path}")
                if handler is None:
                    self._send(HTTPStatus.NOT_FOUND, {"error": f"no {method} {url.path}"})
                    return
                query = {key: values[-1] for key, values in parse_qs(url.query).items()}
                try:
                    self._send(HTTPStatus.OK, handler(query))
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
