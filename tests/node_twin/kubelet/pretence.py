"""A container runtime that only pretends."""

from pathlib import Path

from node_twin.kubelet.errors import ContainerStartError
from node_twin.kubelet.runtime import Process
from node_twin.kubelet.shim import Exec, Launch


class Pretence:
    """A runtime whose processes end with the codes it is given, or run until they are told to end."""

    def __init__(self, codes: dict[str, list[int]]) -> None:
        self.codes = codes
        self.launched: list[Launch] = []
        self.signals: list[int] = []
        self.probe_code = 0
        self.closed = False

    async def run(self, launch: Launch) -> Process:
        assert Path(launch["cgroup"]).is_dir(), "the cgroup is there before the process"
        self.launched.append(launch)
        name = launch["argv"][0]
        if name == "missing":
            raise ContainerStartError("command 'missing': No such file or directory")
        process = Process(str(len(self.launched)))
        process.started.set_result(1)
        codes = self.codes.get(name, [])
        if codes:
            process.exited.set_result(codes.pop(0))
        return process

    async def execute(self, command: Exec, timeout_s: float) -> int:
        return self.probe_code

    def signal(self, process: Process, number: int) -> None:
        self.signals.append(number)
        if not process.exited.done():
            process.exited.set_result(128 + number)

    async def close(self) -> None:
        self.closed = True

    @property
    def names(self) -> list[str]:
        return [launch["argv"][0] for launch in self.launched]
