"""The agent's port is open to every pod: strangers who hold connections or break them cost it nothing."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
import urllib3
from prometheus_client import CollectorRegistry

from drcio_controller.status import server as status_server
from drcio_controller.status.model import NodeStatus
from drcio_controller.status.server import CONNECTIONS_LIMIT, PEER_LIMIT, Probes, Server, serve
from tests.waits import eventually


@pytest.fixture
def server() -> Iterator[Server]:
    probes = Probes(registry=CollectorRegistry(), status=lambda: NodeStatus(synced=True), alive=lambda: True)
    made = serve(("127.0.0.1", 0), probes)
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def silent(server: Server) -> Iterator[list[socket.socket]]:
    """Return five hundred connections, from many addresses, that ask for nothing."""
    made: list[socket.socket] = []
    for index in range(500):
        peer = socket.socket()
        peer.bind((f"127.0.{1 + index // 4}.1", 0))
        peer.connect(("127.0.0.1", server.server_port))
        made.append(peer)
    yield made
    for peer in made:
        peer.close()


def healthy(server: Server) -> bool:
    url = f"http://127.0.0.1:{server.server_port}/healthz"
    return urllib3.request("GET", url, timeout=5, retries=False).status == 200


Answering = Callable[[], int]


@pytest.fixture
def answering() -> Answering:
    """Return how to count the threads that answer since; other tests' servers in this process have theirs."""
    others = set(threading.enumerate())

    def count() -> int:
        new = set(threading.enumerate()) - others
        return sum("process_request_thread" in thread.name for thread in new)

    return count


def test_five_hundred_silent_connections_take_few_threads_and_keep_no_probe_waiting(
    answering: Answering, server: Server, silent: list[socket.socket]
) -> None:
    assert healthy(server)
    eventually(lambda: answering() <= CONNECTIONS_LIMIT, "few threads")
    assert healthy(server)


def test_one_address_has_few_connections_and_others_are_answered(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        mine = []
        for _ in range(3 * PEER_LIMIT):
            peer = stack.enter_context(socket.socket())
            peer.bind(("127.0.9.1", 0))
            peer.connect(("127.0.0.1", server.server_port))
            peer.settimeout(5)
            mine.append(peer)

        assert mine[-1].recv(1) == b""
        assert healthy(server)


def test_connection_that_asks_for_ever_is_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_server, "CONNECTION_LIMIT_S", 0.5)
    with socket.create_connection(("127.0.0.1", server.server_port)) as peer:
        peer.sendall(b"GET /metrics HTTP/1.0\r\nX: ")
        ended = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(0.05):
                    peer.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        peer.settimeout(5)
        try:
            assert peer.recv(1) == b""
        except ConnectionResetError:
            pass
        finally:
            ended.set()
            thread.join()


def test_who_leaves_before_the_answer_fills_no_log(
    answering: Answering, server: Server, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(50):
        peer = socket.create_connection(("127.0.0.1", server.server_port))
        peer.sendall(b"GET /status HTTP/1.0\r\n\r\n")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
    eventually(lambda: answering() == 0, "all have ended")

    assert healthy(server)
    assert capfd.readouterr().err == ""
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
