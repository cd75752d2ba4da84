"""Fetch a pod's own metrics without trusting the pod: where to may be asked, how long, and how much.

The agent has the node's view of the network, and an address in an annotation would make it a stranger's
errand boy: the metadata service hands out the node's credentials to whoever asks from the node. So the
address is the pod's own, from the status that only a node writes, and an address of the node, of itself
or of a cloud's services is refused however it is spelled. The port is one that the pod's manifest
declares. No name is resolved, no redirect followed, no proxy asked.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Collection
from functools import cache
from typing import Final
from urllib.parse import urlsplit

TIMEOUT_S: Final = 1.0
"""For everything together: a peer that sends a byte a second would never be late for any one of them."""

HEAD_LIMIT_BYTES: Final = 16 << 10
BODY_LIMIT_BYTES: Final = 1 << 20
PATH_LIMIT_CHARS: Final = 200

SCHEMES: Final = ("http", "https")

_PATH: Final = re.compile(rf"/[A-Za-z0-9/_.~!$&'()*+,;=:@%?-]{{0,{PATH_LIMIT_CHARS - 1}}}", re.ASCII)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r?\n")
_READ_BYTES: Final = 65536

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SERVICES: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "fd00:ec2::/32",  # AWS: metadata and pod identity over IPv6; 169.254.0.0/16 is link-local
        "100.100.100.200/32",  # Alibaba Cloud's metadata
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.192/32",  # Oracle Cloud's metadata
    )
)
_THIS_NETWORK: Final = ipaddress.ip_network("0.0.0.0/8")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_V4_COMPATIBLE: Final = ipaddress.ip_network("::/96")


def refused_address(text: str, node_addresses: Collection[str]) -> str | None:
    """Return why a pod's address may not be asked, or None if it may.

    Only the canonical forms are addresses here: `0177.0.0.1`, `2130706433`, `127.1` and names are none.
    An IPv6 address is judged with every IPv4 address that it stands for.
    """
    address = _address(text)
    if address is None:
        return "is not an IP address"
    nodes = {one for node in node_addresses if (own := _address(node)) is not None for one in _forms(own)}
    for form in _forms(address):
        if form in nodes:
            return "is the node's own"
        if any(form in network for network in _SERVICES if network.version == form.version):
            return "is a cloud service's"
        if form.is_loopback or form.is_unspecified or form in _THIS_NETWORK:
            return "is a loopback address"
        if form.is_link_local or (isinstance(form, ipaddress.IPv6Address) and form.is_site_local):
            return "is a link-local address"
        if form.is_multicast or form.is_reserved:
            return "is not one host's address"
    return None


def valid_path(text: str) -> bool:
    """Return whether this may stand in a request line: an absolute path of plain characters, not too long."""
    return _PATH.fullmatch(text) is not None


def fetch(url: str, *, timeout_s: float = TIMEOUT_S) -> str:
    """Return the text behind a URL whose host is an address.

    Raises:
        OSError: no connection, or not all of it within the time.
        ValueError: not a 200 answer of HTTP/1, or a larger one than is read.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme not in SCHEMES or _address(host) is None:
        raise ValueError(f"{url[:80]!r} is not http(s) to an address")
    deadline_s = time.monotonic() + timeout_s
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # HTTP/1.0: the answer ends with the connection, and is neither chunked nor compressed.
    request = (
        f"GET {path} HTTP/1.0\r\nHost: {parts.netloc}\r\nAccept: text/plain\r\n"
        "Accept-Encoding: identity\r\nUser-Agent: drcio-controller\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((host, port), timeout_s) as plain:
        _set_time_left(plain, deadline_s)
        connection = (
            _authorities().wrap_socket(plain, server_hostname=host) if parts.scheme == "https" else plain
        )
        with connection:
            _set_time_left(connection, deadline_s)
            connection.sendall(request.encode("ascii"))
            return _answer(connection, deadline_s)


@cache
def _authorities() -> ssl.SSLContext:
    """Return the image's certificate authorities: to read them takes longer than to ask a pod."""
    return ssl.create_default_context()


def _answer(connection: socket.socket, deadline_s: float) -> str:
    received = bytearray()
    body_at = -1
    while True:
        _set_time_left(connection, deadline_s)
        chunk = connection.recv(_READ_BYTES)
        received += chunk
        if body_at < 0:
            body_at = _body_start(received)
            if body_at < 0 and (not chunk or len(received) > HEAD_LIMIT_BYTES):
                raise ValueError("the answer has no end of its head")
        if body_at >= 0 and len(received) - body_at > BODY_LIMIT_BYTES:
            raise ValueError(f"the answer is larger than {BODY_LIMIT_BYTES} bytes")
        if not chunk:
            return received[body_at:].decode(errors="replace")


def _body_start(received: bytearray) -> int:
    """Return where the body begins, or -1 while the head is not complete."""
    ends = [found + len(mark) for mark in (b"\r\n\r\n", b"\n\n") if (found := received.find(mark)) >= 0]
    if not ends:
        return -1
    status = _STATUS_LINE.match(received)
    if status is None:
        raise ValueError("the answer is not HTTP")
    if status[1] != b"200":
        raise ValueError(f"status {int(status[1])}")
    return min(ends)


def _set_time_left(connection: socket.socket, deadline_s: float) -> None:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("no whole answer in time")
    connection.settimeout(left_s)


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text) if "%" not in text else None
    except ValueError:
        return None


def _forms(address: Address) -> list[Address]:
    """Return an address and every IPv4 address that it leads to."""
    forms: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64 or address in _V4_COMPATIBLE:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        forms += [form for form in inner if form is not None]
    return forms
