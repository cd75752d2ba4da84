"""What every guest of a configuration stands on: a kernel, whether KVM works, and compiled programs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from node_twin.errors import BootError
from node_twin.host.kernel import DEFAULT_KERNEL, Kernel, ensure_kernel
from node_twin.host.vm import GuestConfig, kvm_boots
from node_twin.volume.image import VolumeRequest, build_server

KvmChoice = Literal["auto", "on", "off"]
Report = Callable[[str], None]
"""Gets a line of progress."""

KVM_TRIAL_LOG = "kvm-trial.log"
"""Of the output folder."""
_NEVER_IN_THE_GUEST = r"/(pulumi_\w+|tests?)/"
"""Half of all the sources that are installed here: clouds as classes, and packages' own tests."""


@dataclass(frozen=True, kw_only=True)
class TwinConfig:
    """What twin to boot, and where it may write on the host."""

    output: Path
    """Console, pod logs and what pods write under /results end up here."""
    cache: Path
    """Kernel and the like, kept between runs."""
    volumes: Sequence[VolumeRequest]
    published_ports: Sequence[int] = ()
    """Guest TCP ports to reach from the host, beside the Pod API's and the agent's."""
    memory_mib: int = 4096
    kernel: str = DEFAULT_KERNEL
    """A line of Debian's kernels, or the path of one of the user's own."""
    kvm: KvmChoice = "auto"
    kernel_arguments: Sequence[str] = ()
    repository: Path = field(default_factory=lambda: Path(__file__).resolve().parents[2])


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What was prepared; it does not depend on what the volumes hold."""

    kernel: Kernel
    kvm: bool
    volume_server: Path


def prepared(config: TwinConfig, *, report: Report = lambda _: None) -> Ground:
    """Fetch the kernel, find out whether KVM works, and compile what the guest runs; once for many boots."""
    config.output.mkdir(parents=True, exist_ok=True)
    with _alone_in(config.cache, report):
        kernel = ensure_kernel(config.cache / "kernel", config.kernel, report=report)
        kvm = config.kvm != "off" and kvm_works(
            kernel,
            cache=config.cache,
            output=config.output,
            repository=config.repository,
            report=report,
            insist=config.kvm == "on",
        )
        if config.kvm == "on" and not kvm:
            raise BootError(
                "no guest boots with KVM on this machine; "
                f"expected one to, as kvm is 'on' ({config.output / KVM_TRIAL_LOG})",
                hint="with `--kvm auto` the guest is emulated where KVM does not work",
            )
        report("compiling what the guest runs")
        compile_programs(config.repository)
        return Ground(kernel=kernel, kvm=kvm, volume_server=build_server(config.cache))


@contextlib.contextmanager
def _alone_in(cache: Path, report: Report) -> Iterator[None]:
    """Let one process at a time prepare what lies in a cache: the next one finds it there."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another twin, which is preparing what this one needs")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def compile_programs(repository: Path) -> None:
    """Have byte code beside every source that the guest imports: it could not store what it compiles.

    Half a second where it is there already. An error in a source that nobody imports is no error.
    """
    packages = [file.parent for file in repository.glob("*/__init__.py")]
    places = [sysconfig.get_path("purelib"), *packages, *repository.glob("images/*/src")]
    command = [sys.executable, "-m", "compileall", "-qq", "-j", "0", "-x", _NEVER_IN_THE_GUEST]
    subprocess.run([*command, *map(str, places)], check=False)


def kvm_works(
    kernel: Kernel, *, cache: Path, output: Path, repository: Path, report: Report, insist: bool = False
) -> bool:
    """Find out whether a guest really boots with KVM; `cache` remembers it until the host reboots.

    Where it is insisted on, an earlier failure is not believed.
    """
    note = cache / "kvm.json"
    here = [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), platform.node(), kernel.release]
    try:
        known = json.loads(note.read_text())
        if known["here"] == here and (known["boots"] or not insist):
            return bool(known["boots"])
    except (OSError, ValueError, KeyError):
        pass
    report("trying whether a guest boots with KVM here")
    trial = GuestConfig(kernel=kernel, command=["true"], cwd=repository)
    boots = kvm_boots(trial, console=output / KVM_TRIAL_LOG)
    note.write_text(json.dumps({"here": here, "boots": boots}))
    if not boots and not insist:
        report("no KVM here: the guest is emulated, in a time of its own")
    return boots
