"""Ask a container whether it is ready."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from .errors import KubeletError
from .manifest import ExecAction, HttpGet, Probe

_HOST: Final = "127.0.0.1"
"""All pods are on the node's network."""

ExecRunner = Callable[[tuple[str, ...], float], Awaitable[int]]
"""Runs a command in the container within so many seconds and returns its exit code."""


@dataclass(frozen=True, slots=True)
class ProbeState:
    """What a probe's answers so far amount to."""

    passing: bool = False
    failures: int = 0

    def after(self, success: bool, probe: Probe) -> "ProbeState":
        """Return the state after one more answer: failures count in a row, one success is enough."""
        if success:
            return ProbeState(passing=True)
        failures = self.failures + 1
        return ProbeState(self.passing and failures < probe.failure_threshold, failures)


async def states(probe: Probe, run_command: ExecRunner) -> AsyncGenerator[ProbeState, None]:
    """Ask for ever, at the probe's pace; yield the state after each answer."""
    state = ProbeState()
    await asyncio.sleep(probe.initial_delay_s)
    while True:
        state = state.after(await ask(probe, run_command), probe)
        yield state
        await asyncio.sleep(probe.period_s)


async def ask(probe: Probe, run_command: ExecRunner) -> bool:
    """Ask once; every way of not answering well is a no.

    With asyncio.timeout, for wait_for of Python 3.11 loses a cancellation that comes with the answer.
    """
    try:
        match probe.action:
            case HttpGet(port, path):
                async with asyncio.timeout(probe.timeout_s):
                    return 200 <= await _http_status(port, path) < 400
            case ExecAction(command):
                return await run_command(command, probe.timeout_s) == 0
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, KubeletError):
        return False


async def _http_status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection(_HOST, port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: {_HOST}:{port}\r\nUser-Agent: kube-probe/1.35\r\n"
        writer.write(f"{head}Accept: */*\r\nConnection: close\r\n\r\n".encode())
        status_line = await reader.readuntil(b"\r\n")
        # The rest is read, or the server would see a reset and may log an error for each probe.
        await reader.read()
        _, _, after_version = status_line.partition(b" ")
        return int(after_version[:3])
    finally:
        writer.close()
