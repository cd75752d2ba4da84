"""A pod's metrics are fetched from the pod and from nobody else, in bounded time and memory."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.latency import scrape

NODE = ("192.168.7.4", "fd12::4")


@pytest.mark.parametrize("address", ["10.0.0.7", "100.64.3.2", "192.168.7.5", "2600:1f16::7", "fd12::5"])
def test_pods_own_address_may_be_asked(address: str) -> None:
    assert scrape.refused_address(address, NODE) is None


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.23",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "0.0.0.1",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "100.100.100.200",
        "168.63.129.16",
        "192.168.7.4",
        "::ffff:192.168.7.4",
        "fd12::4",
        "fd12:0:0::0:4",
        "0251.0376.0251.0376",
        "0xa9fea9fe",
        "2852039166",
        "169.254.43518",
        "127.1",
        "metadata.google.internal",
        "instance-data.ec2.internal",
        "localhost",
        "10.0.0.7@169.254.169.254",
        "10.0.0.7/../",
        "",
        " 10.0.0.7",
        "10.0.0.7\n",
    ],
)
def test_address_of_anybody_else_is_refused_however_it_is_spelled(address: str) -> None:
    assert scrape.refused_address(address, NODE)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["{}", "::ffff:{}", "::{}", "64:ff9b::{}"]))
def test_ipv6_form_is_refused_wherever_the_ipv4_address_is(number: int, form: str) -> None:
    inner = ipaddress.IPv4Address(number)

    if scrape.refused_address(str(inner), NODE):
        assert scrape.refused_address(form.format(inner), NODE)


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    if scrape.refused_address(text, NODE) is None:
        ipaddress.ip_address(text)


@pytest.mark.parametrize("path", ["/metrics", "/a/b?c=d", "/", "/actuator/prometheus"])
def test_plain_path_is_valid(path: str) -> None:
    assert scrape.valid_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "metrics",
        "/a b",
        "/\r\nHost: x",
        "/a#b",
        "/\x00",
        "/é",
        "/" + "a" * 200,
        "http://169.254.169.254/",
        '/"',
    ],
)
def test_path_that_could_be_more_than_a_path_is_not(path: str) -> None:
    assert not scrape.valid_path(path)


@contextlib.contextmanager
def peer(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one connection and return its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
        thread.join(5)


def says(text: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(text)

    return talk


def test_answer_is_its_body() -> None:
    with peer(says(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\na 1\nb 2\n")) as url:
        assert scrape.fetch(url) == "a 1\nb 2\n"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n", "status 302"),
        (b"HTTP/1.1 500 No\r\n\r\n", "status 500"),
        (b"SSH-2.0-x\r\n\r\n", "not HTTP"),
        (b"", "no end of its head"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", "no end of its head"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 40_000, "no end of its head"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000_000, "larger than"),
    ],
)
def test_answer_that_is_not_one_or_too_long_is_refused(answer: bytes, message: str) -> None:
    with peer(says(answer)) as url, pytest.raises(ValueError, match=message):
        scrape.fetch(url)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_peer_that_sends_a_byte_now_and_then_costs_the_whole_time_once(start: bytes) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    began_s = time.monotonic()
    with peer(drip) as url, pytest.raises(OSError, match=r"timed out|in time"):
        scrape.fetch(url, timeout_s=0.3)

    assert time.monotonic() - began_s < 2


@pytest.mark.parametrize(
    "url", ["ftp://10.0.0.7/", "http://localhost/", "file:///etc/passwd", "http://0x7f.1/"]
)
def test_only_http_to_an_address_is_fetched(url: str) -> None:
    with pytest.raises(ValueError, match="not http"):
        scrape.fetch(url)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest))
def test_any_answer_is_a_body_or_refused(answer: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.close()
        with contextlib.suppress(ValueError):
            assert isinstance(scrape._answer(ours, time.monotonic() + 5), str)
