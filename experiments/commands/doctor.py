"""Report what this machine can do: `make doctor`, or `python -m experiments.commands.doctor`.

Standard library only, so that it runs before anything is installed. Its exit status is 0 unless
`make demo` cannot run here.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node_twin.errors import TwinError
from node_twin.host.kernel import DEFAULT_KERNEL, Kernel, ensure_kernel
from node_twin.host.vm import GuestConfig, kvm_boots

GIB: Final = 1 << 30
GUEST_MEMORY_GIB: Final = GuestConfig.memory_mib // 1024
DISK_ONCE_GIB: Final = {".venv/.run-stamp": 1.8, ".cache/twin/kernel": 0.5, ".cache/volume": 1.0}
"""What set-up and the first run leave, by what is there afterwards: packages, the guest's kernel, data."""
DISK_RUN_GIB: Final = 1.0
"""For the records of runs, and what they write meanwhile."""
ENGINE_VARIABLE: Final = "DRCIO_ENGINE"
ENGINE_PROGRAMS: Final = (
    "pulumi",
    "pulumi-resource-kubernetes",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "coredns",
)
"""What `make engine` fetches."""
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ANSWER_S: Final = 20.0


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    text: str
    stops_demo: bool = False


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where to look."""

    repository: Path
    environment: Mapping[str, str]
    meminfo: Path = Path("/proc/meminfo")
    kvm_device: Path = Path("/dev/kvm")
    architecture: str = platform.machine()
    system_path: str = "/usr/sbin:/sbin"
    """Searched beside PATH, from which Debian leaves it out for users."""

    @property
    def cache(self) -> Path:
        return self.repository / ".cache"

    @property
    def kernels(self) -> Path:
        """Where a run keeps the kernels that it fetched, each in a folder of its line's name."""
        return self.cache / "twin" / "kernel"


def main() -> int:
    """Print a line about each thing; return 1 when `make demo` cannot run here."""
    machine = Machine(repository=Path(__file__).resolve().parents[2], environment=os.environ)
    stopping = []
    for subject, check in CHECKS.items():
        finding = check(machine)
        print(f"{subject + ':':<12} {finding.text}", flush=True)
        if finding.stops_demo:
            stopping.append(subject)
    print(
        f"{'make demo:':<12} {'cannot run here, see ' + ', '.join(stopping) if stopping else 'can run here'}"
    )
    return 1 if stopping else 0


def cores(machine: Machine) -> Finding:
    count = len(os.sched_getaffinity(0))
    if machine.architecture != "x86_64":
        text = f"{count} ({machine.architecture}); the guest is an x86_64 machine on this one's own programs"
        return Finding(text, stops_demo=True)
    note = "" if count > 1 else "; the experiment is made for two, its figures will be worse"
    return Finding(f"{count} ({machine.architecture}){note}")


def memory(machine: Machine) -> Finding:
    kib = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in machine.meminfo.read_text().splitlines())
        if name in ("MemTotal", "MemAvailable")
    }
    total, available = (kib[name] / (1 << 20) for name in ("MemTotal", "MemAvailable"))
    short = available < GUEST_MEMORY_GIB
    need = (
        f"the twin's guest needs {GUEST_MEMORY_GIB}"
        if short
        else f"{GUEST_MEMORY_GIB} go to the twin's guest"
    )
    return Finding(f"{total:.1f} GiB, {available:.1f} available; {need}", stops_demo=short)


def disk(machine: Machine) -> Finding:
    free = shutil.disk_usage(machine.repository).free / GIB
    missing = [gib for path, gib in DISK_ONCE_GIB.items() if not (machine.repository / path).exists()]
    needed = DISK_RUN_GIB + sum(missing)
    short = free < needed
    need = f"; {needed:.1f} are needed" if short else ""
    return Finding(f"{free:.1f} GiB free in {machine.repository}{need}", stops_demo=short)


def packages(machine: Machine) -> Finding:
    if _find(machine, "apt-get"):
        return Finding(f"{_distribution()}; make installs what is missing")
    if Kernel.in_tree(machine.kernels / DEFAULT_KERNEL):
        return Finding(f"none ({_distribution()}); the guest's kernel is here already")
    return Finding(
        f"none ({_distribution()}); the guest's kernel comes from Debian's packages by apt-get",
        stops_demo=True,
    )


def emulation(machine: Machine) -> Finding:
    qemu = _find(machine, "qemu-system-x86_64")
    if qemu is None:
        can_install = _find(machine, "apt-get") is not None
        text = "no qemu-system-x86_64" + ("; make demo installs it" if can_install else "")
        return Finding(text, stops_demo=not can_install)
    version = _first_line(qemu, "--version")
    return Finding(version or f"{qemu} does not start", stops_demo=version is None)


def kvm(machine: Machine) -> Finding:
    """Boot a guest with it where that is possible: the device file alone does not show it."""
    device = machine.kvm_device
    without = "the guest is emulated, its CPU about 20 times slower"
    if not device.exists():
        return Finding(f"no: there is no {device}; {without}")
    if not os.access(device, os.R_OK | os.W_OK):
        return Finding(f"no: {device} is not yours to open (group kvm?); {without} until it is")
    if importlib.util.find_spec("virtme") is None:
        return Finding(f"not tried: {device} is there, but make setup did not run yet")
    try:
        trial = GuestConfig(kernel=ensure_kernel(machine.kernels), command=["true"], cwd=machine.repository)
        with tempfile.TemporaryDirectory() as folder:
            boots = kvm_boots(trial, console=Path(folder) / "console.log")
    except TwinError as error:
        return Finding(f"not tried: {error.message}")
    text = "yes: a guest boots with it" if boots else f"no: {device} is there, but no guest boots; {without}"
    return Finding(text)


def docker(machine: Machine) -> Finding:
    program = _find(machine, "docker")
    if program is None:
        return Finding("none; pulumi up builds images with it, make test installs it")
    engine = _first_line(program, "version", "--format", "{{.Server.Version}}")
    if engine is None:
        return Finding("installed, but no engine answers; pulumi up builds images with it")
    return Finding(f"engine {engine} answers")


def engine(machine: Machine) -> Finding:
    given = machine.environment.get(ENGINE_VARIABLE)
    path = given or os.pathsep.join((machine.environment.get("PATH", ""), str(machine.cache / "engine")))
    missing = [name for name in ENGINE_PROGRAMS if shutil.which(name, path=path) is None]
    where = f"{ENGINE_VARIABLE}={given}" if given else "PATH and .cache/engine"
    if missing:
        return Finding(
            f"no {', '.join(missing)} in {where}; make cluster, tour and test-engine need them: make engine",
        )
    return Finding(f"Pulumi's engine and a Kubernetes control plane are in {where}")


def browser(machine: Machine) -> Finding:
    found = next((program for name in BROWSERS if (program := _find(machine, name))), None)
    if found is None:
        return Finding("no Chromium; a report opens in any browser, without a network")
    return Finding(_first_line(found, "--version") or f"{found} does not start")


CHECKS: Final[Mapping[str, Callable[[Machine], Finding]]] = {
    "cores": cores,
    "memory": memory,
    "disk": disk,
    "apt": packages,
    "emulation": emulation,
    "kvm": kvm,
    "docker": docker,
    "engine": engine,
    "browser": browser,
}


def _find(machine: Machine, name: str) -> str | None:
    return shutil.which(name, path=f"{machine.environment.get('PATH', '')}:{machine.system_path}")


def _first_line(*command: str) -> str | None:
    """Return what a program prints; None where it fails, hangs or prints nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else None


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "an unknown distribution")
    except OSError:
        return "an unknown distribution"


if __name__ == "__main__":
    sys.exit(main())
