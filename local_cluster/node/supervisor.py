"""Who runs the node's programs in the guest: systemd, as on a real node, or the guest's own process.

What a kubelet calls its cgroup driver depends on it: systemd makes the pods' cgroups where it runs, as on
EKS, and the container runtime itself where it does not.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

SYSTEMD: Final = Path("/lib/systemd/systemd")
WEIGHT: Final = "25"
"""Of system.slice to kubepods' 39, the kubelet's for one CPU, as systemd's 100 are to its 157 for four: an
m6i.xlarge's."""
OPEN_FILES: Final = 1 << 20
_SLICE: Final = "system.slice"
_FAILED_UNIT: Final = "program-ended@"
_UP_WITHIN_S: Final = 120.0
_LOOK_EVERY_S: Final = 0.1


class Supervisor(Protocol):
    """Starts programs in system.slice and knows which has ended."""

    driver: str
    """What the kubelet calls this one's way of making cgroups."""

    def begin(self, commands: Mapping[str, Sequence[str]]) -> None:
        """Get ready to run these, by name."""

    def start(self, name: str) -> None: ...

    def restart(self, name: str) -> None:
        """Kill it and start it again."""

    def ended(self) -> str | None:
        """Return the name of a program that is no more."""


class Children:
    """The programs as children of this process, in a slice made by hand."""

    driver = "cgroupfs"

    def __init__(self, logs: Path, cgroup_root: Path) -> None:
        self._logs = logs
        self._cgroup_root = cgroup_root
        self._commands: Mapping[str, Sequence[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def begin(self, commands: Mapping[str, Sequence[str]]) -> None:
        self._commands = commands
        (self._cgroup_root / "cgroup.subtree_control").write_text("+cpu +memory +io +pids +cpuset")
        folder = self._cgroup_root / _SLICE
        folder.mkdir(exist_ok=True)
        (folder / "cpu.weight").write_text(WEIGHT)
        # In the root each runnable thread would weigh more than all pods of a node with one CPU together.
        (folder / "cgroup.procs").write_text("0")

    def start(self, name: str) -> None:
        with (self._logs / f"{name}.log").open("ab") as output:
            self._running[name] = subprocess.Popen(
                list(self._commands[name]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def restart(self, name: str) -> None:
        self._running[name].kill()
        self._running[name].wait()
        self.start(name)

    def stop(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def ended(self) -> str | None:
        return next((name for name, it in self._running.items() if it.poll() is not None), None)


class Systemd:
    """The programs as services of a systemd that is process 1 of a namespace, as in kind's nodes.

    The guest's own process 1 is virtme-ng's. Only the units made here are there, so it is up in no time.
    """

    driver = "systemd"

    def __init__(self, logs: Path, cgroup_root: Path, state: Path) -> None:
        self._logs = logs
        self._cgroup_root = cgroup_root
        self._units = state / "units"
        self._ended = state / "ended"
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, commands: Mapping[str, Sequence[str]]) -> None:
        self._units.mkdir(parents=True)
        self._ended.mkdir()
        for name, text in units(commands, self._logs, self._ended).items():
            (self._units / name).write_text(text)
        variables = {
            "PATH": os.environ.get("PATH", os.defpath),
            # It leaves alone what is the guest's: mounts, clock, host name.
            "container": "drcio",
            "SYSTEMD_UNIT_PATH": str(self._units),
            "SYSTEMD_GENERATOR_PATH": str(self._units),
        }
        options = ("--system", "--unit=default.target", "--log-target=console", "--show-status=no")
        self._process = subprocess.Popen(
            [
                *("unshare", "--fork", "--pid", "--mount-proc", "--kill-child", "--"),
                *("sh", "-c", 'mount --make-rshared / && exec "$@"', "sh", str(SYSTEMD), *options),
            ],
            env=variables,
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _UP_WITHIN_S
        while self._systemctl("is-active", "default.target", check=False) != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError("systemd does not come up; the console says why")
            time.sleep(_LOOK_EVERY_S)
        # This process belongs beside them, outside of their namespace as it is.
        beside = self._cgroup_root / _SLICE / "guest"
        beside.mkdir(parents=True)
        (beside / "cgroup.procs").write_text("0")

    def start(self, name: str) -> None:
        self._systemctl("start", f"{name}.service")

    def restart(self, name: str) -> None:
        self._systemctl("restart", f"{name}.service")

    def ended(self) -> str | None:
        if self._process is not None and self._process.poll() is not None:
            return "systemd"
        return next((path.name for path in self._ended.iterdir()), None)

    def _systemctl(self, *words: str, check: bool = True) -> int:
        """Ask it, from within its namespaces; raises CalledProcessError where it refuses."""
        if self._process is None:
            raise RuntimeError("begin() starts it")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            return 1
        enter = ("nsenter", f"--target={children[0]}", "--pid", "--mount", "--")
        done = subprocess.run(
            [*enter, "systemctl", "--quiet", *words], check=check, stderr=subprocess.DEVNULL
        )
        return done.returncode


def units(commands: Mapping[str, Sequence[str]], logs: Path, ended: Path) -> dict[str, str]:
    """Return the unit files by name: a service a program, their slice, and who notes that one has ended."""
    found = {
        "default.target": "[Unit]\nDescription=The node\nDefaultDependencies=no\n",
        _SLICE: f"[Slice]\nCPUWeight={WEIGHT}\n",
        f"{_FAILED_UNIT}.service": (
            f"[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/touch {ended}/%i\n"
        ),
    }
    for name, command in commands.items():
        found[f"{name}.service"] = (
            "[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n"
            f"OnFailure={_FAILED_UNIT}{name}.service\n"
            "[Service]\n"
            f"ExecStart={shlex.join(command)}\n"
            # A restart is a program's sudden end, which is no failure; containers outlive their runtime's.
            "KillSignal=SIGKILL\nSuccessExitStatus=SIGKILL\nKillMode=process\nDelegate=yes\n"
            f"LimitNOFILE={OPEN_FILES}\nTasksMax=infinity\n"
            f"StandardOutput=append:{logs}/{name}.log\nStandardError=inherit\n"
        )
    return found
