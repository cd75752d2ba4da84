"""The client against the real HTTP server: each failure is the right error."""

import json
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.kube.client import KubeClient, Timeouts, parse_watch_line
from drcio_controller.kube.endpoint import Endpoint, at_url
from drcio_controller.kube.errors import (
    ApiRefused,
    ApiUnavailable,
    Expired,
    NotFound,
    Overloaded,
    Unauthorized,
    WatchBroken,
)
from drcio_controller.testing.podapi import ApiOptions
from drcio_controller.testing.server import PodApiServer, serving
from drcio_controller.testing.store import PodStore

QUICK = Timeouts(connect_s=1, read_s=0.3, watch_silence_s=0.3)


@pytest.fixture(scope="module")
def server() -> Iterator[PodApiServer]:
    with serving(PodStore(), ApiOptions(token="right")) as server:  # noqa: S106 - a test's token
        yield server


@pytest.fixture
def client(server: PodApiServer, tmp_path: Path) -> Iterator[KubeClient]:
    (tmp_path / "token").write_text("right")
    client = KubeClient(Endpoint(url=server.url, token_file=tmp_path / "token"), timeouts=QUICK)
    yield client
    client.close()


def test_version_is_read(client: KubeClient) -> None:
    assert str(client.get("/version")["gitVersion"]).startswith("v1.")


def test_wrong_token_is_unauthorized(server: PodApiServer) -> None:
    client = KubeClient(at_url(server.url))
    with pytest.raises(Unauthorized):
        client.get("/version")
    client.close()


@pytest.mark.parametrize("seconds", ["1e300", "1e999", "-5", "NaN", "-Infinity", "9" * 400])
def test_wait_that_nobody_can_wait_for_is_none_or_an_hour(seconds: str) -> None:
    """A thread that waited for so long would end with an overflow, and with it all news of pods."""
    line = (
        f'{{"type": "ERROR", "object": {{"kind": "Status", "code": 429,'
        f' "details": {{"retryAfterSeconds": {seconds}}}}}}}'
    )
    with pytest.raises(ApiRefused) as refusal:
        parse_watch_line(line.encode())

    waits_s = refusal.value.retry_after_s
    assert waits_s is None or 0 <= waits_s <= 3600


def test_overloaded_server_says_for_how_long(client: KubeClient, server: PodApiServer) -> None:
    server.faults.fail_next(1, HTTPStatus.TOO_MANY_REQUESTS, retry_after_s=7)
    with pytest.raises(Overloaded) as caught:
        client.pods.list()
    assert caught.value.retry_after_s == 7


def test_missing_object_is_not_found(client: KubeClient) -> None:
    with pytest.raises(NotFound):
        client.patch_event("default", "none", {"count": 2})


def test_slow_server_is_a_timeout(client: KubeClient, server: PodApiServer) -> None:
    server.faults.delay_s = 1
    try:
        with pytest.raises(ApiUnavailable) as caught:
            client.pods.list()
    finally:
        server.faults.delay_s = 0
    assert caught.value.kind == "timeout"


def test_closed_port_is_a_connect_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = KubeClient(at_url(f"http://127.0.0.1:{port}"))
    with pytest.raises(ApiUnavailable) as caught:
        client.pods.list()
    assert caught.value.kind == "connect"


def test_server_that_hangs_up_is_a_protocol_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        client = KubeClient(at_url(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        with pytest.raises(ApiUnavailable) as caught:
            client.pods.list()
        thread.join()
    assert caught.value.kind == "protocol"


def test_each_request_is_observed_once(server: PodApiServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("right")
    seen: list[tuple[str, str]] = []
    client = KubeClient(
        Endpoint(url=server.url, token_file=tmp_path / "token"), observe=lambda *pair: seen.append(pair)
    )
    client.pods.list()
    server.faults.fail_next(1, 500)
    with pytest.raises(Overloaded):
        client.pods.list()
    client.close()
    assert seen == [("list", "200"), ("list", "500")]


def test_error_event_on_a_watch_is_the_error_itself() -> None:
    line = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}'
    with pytest.raises(Expired, match="too old"):
        parse_watch_line(line)


@given(st.binary(max_size=60))
def test_any_line_is_an_event_or_broken(line: bytes) -> None:
    with pytest.raises(WatchBroken):
        parse_watch_line(line)


@given(st.dictionaries(st.sampled_from(["code", "reason", "message", "details"]), st.none() | st.text()))
def test_any_error_event_is_an_error(status: dict[str, str | None]) -> None:
    with pytest.raises(ApiRefused):
        parse_watch_line(json.dumps({"type": "ERROR", "object": status}).encode())
