"""The shim, for real: it forks, reports, and takes everything with it when it goes.

Needs the right to mount; where the machine does not give it, the guest's tests stand for these.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from node_twin.kubelet.errors import ContainerStartError, RuntimeLost
from node_twin.kubelet.runtime import Process, Runtime
from node_twin.kubelet.shim import Launch

_NO_RIGHTS = ("unshare", "mount ", "pivot_root")


class Bench:
    """A runtime and a place for its containers. The cgroup is a directory that nobody enforces."""

    def __init__(self, runtime: Runtime, tmp_path: Path) -> None:
        self.runtime = runtime
        self.log = tmp_path / "log"
        self.source = tmp_path / "source"
        self.source.mkdir()
        self._tmp_path = tmp_path
        self._count = 0

    async def run(
        self, script: str, *, argv: list[str] | None = None, read_only_root: bool = False
    ) -> Process:
        self._count += 1
        scratch = self._tmp_path / f"scratch-{self._count}"
        scratch.mkdir()
        launch: Launch = {
            "argv": argv or ["sh", "-c", script],
            "env": {"PATH": os.environ["PATH"]},
            "working_dir": "/",
            "cgroup": str(self._tmp_path),
            "log_file": str(self.log),
            "scratch_dir": str(scratch),
            "binds": [{"source": str(self.source), "target": "/no/such/place/before", "read_only": False}],
            "read_only_root": read_only_root,
            "writable_sys": False,
            "oom_score_adj": 500,
        }
        try:
            return await self.runtime.run(launch)
        except ContainerStartError as error:
            if str(error).startswith(_NO_RIGHTS):
                pytest.skip(f"no right to mount here: {error}")
            raise


def on_bench(tmp_path: Path, check: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        runtime = await Runtime.start()
        try:
            await asyncio.wait_for(check(Bench(runtime, tmp_path)), 20)
        finally:
            await runtime.close()

    asyncio.run(main())


def test_process_joins_its_cgroup_and_reports_its_end(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        process = await bench.run("cat /proc/self/oom_score_adj; exit 3")
        assert await process.exited == 3
        assert bench.log.read_text() == "500\n"
        assert (tmp_path / "cgroup.procs").read_text() == "0"

    on_bench(tmp_path, check)


def test_root_is_private_and_mounts_are_where_they_should_be(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        process = await bench.run("touch /only-in-the-container /no/such/place/before/seen")
        assert await process.exited == 0
        assert (bench.source / "seen").exists()
        assert not Path("/only-in-the-container").exists()

    on_bench(tmp_path, check)


def test_read_only_root_is_read_only_and_its_volumes_are_not(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        script = "touch /no/such/place/before/x && ! touch /x"
        process = await bench.run(script, read_only_root=True)
        assert await process.exited == 0, bench.log.read_text()

    on_bench(tmp_path, check)


def test_signals_reach_a_process_that_wants_to_end_well(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"
        process = await bench.run(script)
        while "up" not in bench.log.read_text():
            await asyncio.sleep(0.01)
        bench.runtime.signal(process, signal.SIGTERM)
        assert await process.exited == 7

    on_bench(tmp_path, check)


def test_killed_process_has_the_shells_code(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        process = await bench.run("exec sleep 600")
        bench.runtime.signal(process, signal.SIGKILL)
        assert await process.exited == 137

    on_bench(tmp_path, check)


def test_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        with pytest.raises(ContainerStartError, match="'/not/there': No such file"):
            await bench.run("", argv=["/not/there"])

    on_bench(tmp_path, check)


def test_command_in_a_container_sees_its_files(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        process = await bench.run("touch /only-here; echo up; exec sleep 600")
        while "up" not in bench.log.read_text():
            await asyncio.sleep(0.01)
        for path, code in (("/only-here", 0), ("/elsewhere", 1)):
            result = await bench.runtime.execute(
                {
                    "argv": ["test", "-e", path],
                    "env": {"PATH": os.environ["PATH"]},
                    "cgroup": str(tmp_path),
                    "container_pid": process.pid,
                },
                5,
            )
            assert result == code

    on_bench(tmp_path, check)


def test_closing_the_runtime_kills_its_containers(tmp_path: Path) -> None:
    processes: list[Process] = []

    async def check(bench: Bench) -> None:
        processes.append(await bench.run("exec sleep 600"))

    on_bench(tmp_path, check)
    deadline_s = time.monotonic() + 5
    while Path(f"/proc/{processes[0].pid}/exe").exists():  # a zombie of pid 1's has none
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_shim_that_dies_is_noticed(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        process = await bench.run("exec sleep 600")
        os.kill(bench.runtime._shim.pid, signal.SIGKILL)
        with pytest.raises(RuntimeLost):
            await process.exited
        with pytest.raises(RuntimeLost):
            await bench.run("true")
        os.kill(process.pid, signal.SIGKILL)

    on_bench(tmp_path, check)
