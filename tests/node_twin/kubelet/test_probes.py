"""Probes: thresholds count answers in a row; no answer is a no."""

import asyncio
import dataclasses
import socket
from collections.abc import Sequence

import pytest

from node_twin.kubelet import probes
from node_twin.kubelet.manifest import ExecAction, HttpGet, Probe
from node_twin.kubelet.probes import ProbeState, ask, states


def probe(action: HttpGet | ExecAction, *, failures: int = 3) -> Probe:
    return Probe(
        action=action,
        initial_delay_s=0,
        period_s=1,
        timeout_s=1,
        failure_threshold=failures,
    )


COMMAND = probe(ExecAction(("true",)))


@pytest.mark.parametrize(
    ("answers", "passing"),
    [
        ([False], False),
        ([True], True),
        ([True, False, False], True),
        ([True, False, False, False], False),
        ([True, False, False, True, False, False], True),
    ],
)
def test_thresholds(answers: Sequence[bool], passing: bool) -> None:
    state = ProbeState()
    for answer in answers:
        state = state.after(answer, COMMAND)
    assert state.passing is passing


async def _never(argv: tuple[str, ...], timeout_s: float) -> int:
    raise TimeoutError


async def _ask_http(answer: bytes) -> bool:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await ask(probe(HttpGet(port, "/")), _never)


@pytest.mark.parametrize(
    ("answer", "well"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nok", True),
        (b"HTTP/1.1 302 Found\r\n\r\n", True),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"garbage\r\n", False),
        (b"", False),
    ],
)
def test_http_status_decides(answer: bytes, well: bool) -> None:
    assert asyncio.run(_ask_http(answer)) is well


def test_closed_port_is_a_no() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert not asyncio.run(ask(probe(HttpGet(port, "/")), _never))


def test_command_that_takes_too_long_is_a_no() -> None:
    assert not asyncio.run(ask(COMMAND, _never))


async def _ends_when_cancelled_after(turns: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Cancel who probes so many turns of the event loop after the answer came; return whether it ended."""
    answered = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(probes, "_http_status", lambda *_: answered)

    async def for_ever() -> None:
        asking = dataclasses.replace(probe(HttpGet(1, "/")), period_s=3600)
        async for _ in states(asking, _never):
            pass

    probing = asyncio.create_task(for_ever())
    await asyncio.sleep(0.01)
    answered.set_result(200)
    for _ in range(turns):
        await asyncio.sleep(0)
    probing.cancel()
    done, _ = await asyncio.wait({probing}, timeout=1)
    probing.cancel()
    return bool(done)


@pytest.mark.parametrize("turns", range(5))
def test_cancelling_is_not_lost_when_the_answer_comes_with_it(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A container that ends answers its last probe just then; its pod would be ending for ever.
    assert asyncio.run(_ends_when_cancelled_after(turns, monkeypatch))
