"""The real server as a process, on a prepared directory."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hp_service.dataset import Metadata

START_UP_S = 120


@pytest.fixture
def server(prepared: tuple[Path, Metadata]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hp_service", "serve", "--data", str(prepared[0])]
    process = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_UP_S
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield process, port
    finally:
        process.kill()
        process.wait()


def test_scores_over_http_and_finishes_what_is_in_flight_at_sigterm(
    server: tuple[subprocess.Popen[bytes], int], prepared: tuple[Path, Metadata]
) -> None:
    process, port = server
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/score", json.dumps({"ids": [0, 1, 2]}))
    response = connection.getresponse()
    assert response.status == 200
    scores = json.loads(response.read())["scores"]
    assert len(scores) == 3
    parts = dict(entry.split(";dur=") for entry in response.headers["Server-Timing"].split(", "))
    assert parts.keys() == {"sample", "fetch", "model"}
    assert all(float(duration) >= 0 for duration in parts.values())

    connection.request("GET", "/readyz")
    ready = json.loads(connection.getresponse().read())
    assert ready["reviews"] == prepared[1].graph.reviews
    assert ready["read_path"] in {"o_direct+aio", "o_direct+threads", "buffered+threads"}

    # A request whose body arrives only after the signal is in flight all the same.
    body = json.dumps({"ids": [0, 1, 2]}).encode()
    late = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = f"POST /score HTTP/1.1\r\nHost: hp\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    late.sendall(head.encode())
    deadline = time.monotonic() + 10
    while _in_flight(connection) == 0:
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    late.sendall(body)
    answer = b"".join(iter(lambda: late.recv(65536), b""))
    late.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(answer.rpartition(b"\r\n")[2])["scores"] == scores
    connection.close()
    assert process.wait(30) == 0


def _in_flight(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/readyz")
    return int(json.loads(connection.getresponse().read())["in_flight"])
