"""A scoring service that behaves as a test sets it, for tests of the generator and of what uses it."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class StubService:
    """What the stub answers; may be changed while it runs."""

    status: int = 200
    delay_s: float = 0.0
    server_timing: str = "sample;dur=1.2, fetch;dur=12.3, model;dur=20.1"
    ready: bool = True
    hang_up: bool = False
    """Close the connection in place of an answer."""
    port: int = 0
    received_ids: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/score"

    async def readyz(self, _request: web.Request) -> web.Response:
        return web.Response(status=200 if self.ready else 503)

    async def score(self, request: web.Request) -> web.Response:
        self.received_ids.append((await request.json())["id"])
        if self.hang_up and request.transport is not None:
            request.transport.close()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        return web.Response(status=self.status, headers={"Server-Timing": self.server_timing}, text="{}")


@contextlib.contextmanager
def serving(stub: StubService) -> Iterator[StubService]:
    """Serve the stub on a free port of the loopback, from a thread."""
    started = threading.Event()
    finished = threading.Event()

    async def serve() -> None:
        app = web.Application()
        app.add_routes([web.get("/readyz", stub.readyz), web.post("/score", stub.score)])
        # A client that is gone must not keep the stub busy with a long delay.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        stub.port = runner.addresses[0][1]
        started.set()
        while not finished.is_set():
            await asyncio.sleep(0.02)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    started.wait()
    try:
        yield stub
    finally:
        finished.set()
        thread.join()
