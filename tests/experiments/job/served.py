"""A service, a batch job and a controller that answer over real HTTP what a test sets."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from experiments.records.jsonfields import JsonObject

MIB = 1 << 20
DEVICE = "259:1"

Page = Callable[[], tuple[int, str, Mapping[str, str]]]


@dataclass
class FakeNode:
    """The answers of all three; a test may change them while they are served."""

    ready: bool = True
    io_cost: bool | None = False
    rows_per_request: int = 24
    score_delay_s: float = 0.002
    fetch_ms: float = 1.5
    lp_mib_s: float = 110.0
    lp_answers: bool = True
    namespace: str = "drcio"
    engine: str = "iocost"
    config_digest: str = "0123456789ab"
    effect: str = "effective"
    weights: Mapping[str, int] = field(default_factory=lambda: {"hp-gnn-service": 1000, "lp-batch": 10})
    lp_device: str = DEVICE
    requests: int = 0
    clock: Callable[[], float] = time.monotonic
    began_s: float = field(default_factory=time.monotonic)

    @property
    def rows(self) -> int:
        return self.requests * self.rows_per_request

    @property
    def lp_bytes(self) -> int:
        return round((self.clock() - self.began_s) * self.lp_mib_s * MIB)

    def readyz(self) -> tuple[int, str, Mapping[str, str]]:
        status = HTTPStatus.OK if self.ready else HTTPStatus.SERVICE_UNAVAILABLE
        said = {"status": "ready", "read_path": "aio", "reviews": 500, "io_cost": self.io_cost}
        return status, json.dumps(said), {}

    def score(self) -> tuple[int, str, Mapping[str, str]]:
        time.sleep(self.score_delay_s)
        self.requests += 1
        return HTTPStatus.OK, "{}", {"Server-Timing": f"fetch;dur={self.fetch_ms}"}

    def hp_metrics(self) -> tuple[int, str, Mapping[str, str]]:
        return HTTPStatus.OK, f"gnn_feature_rows_read_total {float(self.rows)}\n", {}

    def lp_metrics(self) -> tuple[int, str, Mapping[str, str]]:
        if not self.lp_answers:
            return HTTPStatus.SERVICE_UNAVAILABLE, "", {}
        moved = self.lp_bytes
        lines = [
            f'batch_io_bytes_total{{op="read",pattern="mixed"}} {moved // 2}',
            f'batch_io_bytes_total{{op="write",pattern="mixed"}} {moved - moved // 2}',
            f'batch_io_operations_total{{op="read",pattern="mixed"}} {moved // 2 // MIB}',
            f'batch_io_operations_total{{op="write",pattern="mixed"}} {moved // 2 // MIB}',
        ]
        return HTTPStatus.OK, "\n".join(lines) + "\n", {}

    def status(self) -> tuple[int, str, Mapping[str, str]]:
        return HTTPStatus.OK, json.dumps(self.account()), {}

    def account(self) -> JsonObject:
        """Return the controller's /status."""
        device: JsonObject = {"device": DEVICE, "name": "nvme1n1", "engine": self.engine, "state": "holding"}
        return {
            "node": "node-1",
            "policy": "drcio",
            "config_digest": self.config_digest,
            "devices": [device],
            "pods": [
                self._pod("hp-gnn-service", "hp-gnn-service-6f7d-x2x4q", DEVICE, self.rows * 4096),
                self._pod("lp-batch", "lp-batch-0-abcde", self.lp_device, self.lp_bytes),
            ],
        }

    def _pod(self, app: str, name: str, device: str, moved: int) -> JsonObject:
        on_device: JsonObject = {
            "device": device,
            "effect": self.effect,
            "bytes_read": moved,
            "bytes_written": 0,
        }
        return {
            "namespace": self.namespace,
            "name": name,
            "weight_set": self.weights[app],
            "devices": [on_device],
        }


@dataclass(frozen=True, kw_only=True)
class Served:
    """Where a fake node's three listen, as HOST:PORT."""

    hp: str
    lp: str
    controller: str


@contextlib.contextmanager
def serving(node: FakeNode) -> Iterator[Served]:
    """Serve on free ports of the loopback."""
    with (
        _serve({"/readyz": node.readyz, "/score": node.score, "/metrics": node.hp_metrics}) as hp,
        _serve({"/metrics": node.lp_metrics}) as lp,
        _serve({"/status": node.status}) as controller,
    ):
        yield Served(hp=hp, lp=lp, controller=controller)


@contextlib.contextmanager
def _serve(pages: Mapping[str, Page]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one packet: a page in two waits for the reader's delayed acknowledgement.
        wbufsize = -1

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, text, headers = pages[self.path]()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Log no request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
