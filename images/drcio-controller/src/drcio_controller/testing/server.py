"""Run the Pod API server on a loopback port, in a thread."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import uvicorn

from .faults import Faults
from .podapi import ApiOptions, WatchHub, create_app
from .store import PodStore

_STOP_TIMEOUT_S = 10.0


class PodApiServer:
    """A Pod API server that can be taken down and up again on the same port."""

    def __init__(
        self,
        store: PodStore,
        options: ApiOptions | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.store = store
        self.options = options or ApiOptions()
        self._host = host
        self._port = port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._hub: WatchHub | None = None

    @property
    def faults(self) -> Faults:
        """Return what can be made to go wrong."""
        return self.options.faults

    @property
    def url(self) -> str:
        """Return the server's address."""
        return f"http://{self._host}:{self._port}"

    def up(self) -> None:
        """Listen and serve. Connections are queued from the return on."""
        listener = socket.create_server((self._host, self._port), reuse_port=False)
        self._port = listener.getsockname()[1]
        app = create_app(self.store, self.options)
        self._hub = app.state.hub
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",  # a watch that is cut on purpose is an error to uvicorn
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=_serve, args=(self._server, listener), name="pod-api", daemon=True
        )
        self._thread.start()

    def down(self) -> None:
        """End open watches and stop listening."""
        if self._server is None or self._thread is None or self._hub is None:
            return
        self._hub.close()
        self._server.should_exit = True
        self._thread.join(_STOP_TIMEOUT_S)
        self._server = self._thread = None


def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    with listener:
        server.run(sockets=[listener])


@contextlib.contextmanager
def serving(store: PodStore, options: ApiOptions | None = None) -> Iterator[PodApiServer]:
    """Serve `store` on a loopback port for as long as the context lasts."""
    server = PodApiServer(store, options)
    server.up()
    try:
        yield server
    finally:
        server.down()
