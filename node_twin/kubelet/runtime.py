"""Talk to the shim: start containers, run commands in them, learn how they end."""

import asyncio
import contextlib
import itertools
import json
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypedDict

from .errors import ContainerStartError, RuntimeLost
from .shim import Exec, Launch

_SHIM = Path(__file__).with_name("shim.py")
_STOP_TIMEOUT_S = 20.0


class _Answer(TypedDict):
    id: str
    event: Literal["started", "failed", "exited"]
    pid: int
    error: str
    code: int


@dataclass(eq=False)
class Process:
    """A process that the shim forked."""

    identity: str
    started: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Its pid, once its command has been executed."""
    exited: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Its exit code."""

    @property
    def pid(self) -> int:
        """Return its pid; only for a process that has started."""
        return self.started.result()


class ContainerRuntime(Protocol):
    """What the kubelet asks of a runtime."""

    async def run(self, launch: Launch) -> Process: ...

    async def execute(self, command: Exec, timeout_s: float) -> int: ...

    def signal(self, process: Process, number: int) -> None: ...

    async def close(self) -> None: ...


class Runtime:
    """The kubelet's end of the shim. Belongs to one event loop."""

    def __init__(
        self, shim: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._shim = shim
        self._reader = reader
        self._writer = writer
        self._processes: dict[str, Process] = {}
        self._identities = itertools.count(1)
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls) -> "Runtime":
        """Start a shim."""
        ours, theirs = socket.socketpair()
        with theirs:
            shim = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SHIM), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(shim, reader, writer)

    async def run(self, launch: Launch) -> Process:
        """Start a container's process; return it once its command has been executed."""
        return await self._begin("run", "launch", launch)

    async def execute(self, command: Exec, timeout_s: float) -> int:
        """Run a command in a container and return its exit code.

        Raises TimeoutError, having killed it.
        """
        process = await self._begin("exec", "exec", command)
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(process.exited)
        finally:
            self.signal(process, signal.SIGKILL)

    def signal(self, process: Process, number: int) -> None:
        """Send a signal to a process, if it has not ended."""
        if not process.exited.done() and not self._writer.is_closing():
            self._send({"op": "signal", "id": process.identity, "signal": int(number)})

    async def close(self) -> None:
        """End the shim; it kills what still runs."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        await asyncio.gather(self._listening, return_exceptions=True)
        try:
            await asyncio.to_thread(self._shim.wait, _STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._shim.kill()
            self._shim.wait()

    async def _begin(self, op: str, key: str, body: Launch | Exec) -> Process:
        process = Process(str(next(self._identities)))
        self._processes[process.identity] = process
        self._send({"op": op, "id": process.identity, key: body})
        await asyncio.shield(process.started)
        return process

    def _send(self, request: dict[str, str | int | Launch | Exec]) -> None:
        if self._listening.done():
            raise RuntimeLost("the process that forks containers has ended")
        self._writer.write(json.dumps(request).encode() + b"\n")

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        finally:
            for process in self._processes.values():
                lost = RuntimeLost("the process that forks containers has ended")
                _fail(process.started, lost)
                _fail(process.exited, lost)
            self._processes.clear()

    def _take(self, answer: _Answer) -> None:
        process = self._processes[answer["id"]]
        match answer["event"]:
            case "started":
                process.started.set_result(answer["pid"])
                return
            case "failed":
                _fail(process.started, ContainerStartError(answer["error"]))
                process.exited.cancel()
            case "exited":
                process.exited.set_result(answer["code"])
        del self._processes[process.identity]


def _fail(future: asyncio.Future[int], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # marks it as seen: nobody may be waiting for this one
