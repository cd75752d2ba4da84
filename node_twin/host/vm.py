"""A QEMU guest's life, as a context manager: nothing of it outlives the process that made it.

virtme-ng works out how to boot a kernel on the machine's own file system; QEMU itself is our
direct child, bound to us by a parent-death signal, so that even SIGKILL leaves nothing behind.

Without KVM the guest lives in virtual time: its clock counts instructions, so that what it measures is the
same however slow or busy the host is.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node_twin.errors import BootError, GuestDied, TwinError
from node_twin.host import ending
from node_twin.host.kernel import Kernel
from node_twin.tools import find_tool, require_tools
from node_twin.volume.image import VolumeImage

TAIL_LINES = 60
"""A panic prints its reason some forty lines before its last."""
BOOT_ATTEMPTS = 3
"""Linux 6.12 on several emulated CPUs panicked in one boot of five while it patched its own text."""
PANIC = "Kernel panic"
_KVM_TRIAL_S = 20.0
"""A guest with working KVM runs its first command within 3 s; one that hangs never does."""


@dataclass(frozen=True, kw_only=True)
class GuestConfig:
    """What to boot: kernel, size, volumes, and the one command that the guest runs."""

    kernel: Kernel
    command: Sequence[str]
    cwd: Path
    volumes: Sequence[VolumeImage] = ()
    forwards: Mapping[int, int] = field(default_factory=dict)
    """Guest TCP port -> port on the host's loopback."""
    shared_dirs: Mapping[Path, Path] = field(default_factory=dict)
    """Guest path -> host directory that the guest may write."""
    reaches_host: bool = False
    """It may talk to the host's loopback, which it finds at 10.0.2.2."""
    disks: Sequence[Path] = ()
    """Images that it sees as virtio disks in this order; what it writes on them is forgotten."""
    cpus: int = 1
    memory_mib: int = 4096
    kvm: bool = False
    skips_idle: bool = False
    """An emulated guest that never waits for the host need not idle: its clock goes on to the next timer at
    once. Where it does wait, the clock would run ahead; there idle time is executed (node_twin.guest.idle)
    while something is measured, and passes at the host's pace otherwise."""
    kernel_arguments: Sequence[str] = ()


class Guest:
    """A running guest. Made by `booted`; `check` raises as soon as it is gone."""

    def __init__(self, process: subprocess.Popen[bytes], console: Path, qmp: socket.socket) -> None:
        self._process = process
        self._console = console
        self._qmp = qmp
        self._qmp_lines = qmp.makefile("r", encoding="utf-8")
        self._qmp_ready = False
        self.boots = 1
        """How often it was booted until it came up."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def exited(self) -> bool:
        return self._process.poll() is not None

    def console_tail(self) -> str:
        """Return the last lines of the guest's console and of its command's output."""
        try:
            text = self._console.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(line.rstrip() for line in text.splitlines()[-TAIL_LINES:])

    def check(self) -> None:
        """Raise `GuestDied` if QEMU has ended; KeyboardInterrupt where all guests are ended."""
        if self._died():
            raise GuestDied(
                f"the guest stopped (QEMU exit status {self._process.returncode})",
                console_tail=self.console_tail(),
                hint="the whole console is in " + str(self._console),
            )

    def _died(self) -> bool:
        """Return whether QEMU has ended of itself; raises KeyboardInterrupt where all guests are ended."""
        exited = self.exited()
        # Asked after it: a guest that was ended in between has not died.
        ending.raise_if_asked()
        return exited

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float, what: str) -> None:
        """Poll `ready` four times a second. Raises `BootError` on time-out or when the guest ends."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self._died():
                raise BootError(
                    f"the guest stopped before {what} (QEMU exit status {self._process.returncode})",
                    console_tail=self.console_tail(),
                )
            if time.monotonic() > deadline:
                raise BootError(f"no {what} within {timeout_s:.0f} s", console_tail=self.console_tail())
            time.sleep(0.25)

    def qmp(self, execute: str, **arguments: object) -> object:
        """Send one QEMU Machine Protocol command and return its result."""
        if not self._qmp_ready:
            self._qmp_lines.readline()  # the greeting
            self._qmp_ready = True
            self.qmp("qmp_capabilities")
        message: dict[str, object] = {"execute": execute}
        if arguments:
            message["arguments"] = arguments
        with contextlib.suppress(OSError):  # QEMU has ended
            self._qmp.sendall(json.dumps(message).encode() + b"\n")
            for line in self._qmp_lines:
                answer = json.loads(line)
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise TwinError(f"QEMU refused {execute}: {answer['error'].get('desc', answer['error'])}")
        ending.raise_if_asked()
        raise GuestDied(f"QEMU closed its control socket at {execute}", console_tail=self.console_tail())

    def stop(self) -> None:
        """End QEMU at once; the guest's volumes are scratch, so there is nothing to flush."""
        if not self.exited():
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        ending.forget(self._process)
        self._qmp_lines.close()
        self._qmp.close()


@contextlib.contextmanager
def booted(config: GuestConfig, *, console: Path) -> Iterator[Guest]:
    """Start the guest and stop it on the way out, whatever the reason.

    `console` receives the kernel's messages and the command's output; it is kept.
    """
    require_tools("qemu-system-x86_64", "setpriv")
    console.parent.mkdir(parents=True, exist_ok=True)
    console.write_bytes(b"")
    ours, theirs = socket.socketpair()
    with (
        tempfile.TemporaryDirectory(prefix="drcio-twin-") as scratch,
        tempfile.TemporaryFile(suffix=".initramfs") as initramfs,
        theirs,
    ):
        command = _qemu_command(config, Path(scratch), console, initramfs.fileno())
        command += ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
        inherited = [theirs.fileno(), initramfs.fileno(), *(image.fd for image in config.volumes)]
        with console.open("ab") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=inherited,
                start_new_session=True,  # Ctrl-C is for us: we decide how the guest ends
            )
    guest = Guest(process, console, ours)
    try:
        ending.follow(process)
        yield guest
    finally:
        guest.stop()


def kvm_boots(config: GuestConfig, *, console: Path) -> bool:
    """Find out by trying whether a guest boots with KVM here; the device file alone does not show it."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    marker = "drcio-kvm-works"
    trial = GuestConfig(
        kernel=config.kernel, command=["echo", marker], cwd=config.cwd, cpus=1, memory_mib=512, kvm=True
    )
    with booted(trial, console=console) as guest:
        deadline = time.monotonic() + _KVM_TRIAL_S
        while time.monotonic() < deadline:
            if marker in guest.console_tail():
                return True
            if guest.exited():
                return False
            time.sleep(0.1)
    return False


def _qemu_command(config: GuestConfig, scratch: Path, console: Path, initramfs_fd: int) -> list[str]:
    """Ask virtme-ng for its QEMU command and make it ours.

    Changed: console into our log, no return-code file in /tmp, the initramfs from a nameless file
    and its mount of the machine's file system with a cache.
    """
    saved = scratch / "initramfs"
    virtme = [
        str(_virtme_run()),
        *("--kimg", str(config.kernel.image), "--mods", "auto", "--root", "/"),
        *("--force-9p", "--user", "root", "--cwd", str(config.cwd)),
        *("--cpus", str(config.cpus), "--memory", f"{config.memory_mib}M"),
        *("--script-sh", shlex.join(config.command), "--show-boot-console"),
        *(f"--overlay-rwdir={top}" for top in _OVERLAID if Path(top).is_dir()),
        *(f"--rwdir={guest}={host}" for guest, host in config.shared_dirs.items()),
        *(argument for extra in (*config.kernel_arguments, _UNCHECKED) for argument in ("--kopt", extra)),
        *("--save-initramfs", str(saved), "--show-command", "--dry-run"),
    ]
    if not config.kvm:
        # Here, as `make doctor` tries KVM before any package is installed.
        from load_generator.clock import VIRTUAL

        virtme += ["--disable-kvm", "--kopt", VIRTUAL]
    done = subprocess.run(
        virtme, capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(scratch)}
    )
    if done.returncode != 0 or not saved.is_file():
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise BootError(
            f"virtme-ng could not prepare the guest: {lines[-1]}", hint="`make setup` installs what it needs"
        )
    os.write(initramfs_fd, with_cached_root(saved.read_bytes()))
    (line,) = [text for text in done.stdout.splitlines() if "qemu-system" in text]
    command = [_redirected(word, saved, initramfs_fd, console) for word in shlex.split(line)]
    command += ["-machine", "sata=off"]  # its empty CD drive is polled every two seconds, by the host's clock
    if not config.kvm:
        command += _virtual_time(skips_idle=config.skips_idle)
    for image in config.volumes:
        command += image.qemu_arguments()
    for number, disk in enumerate(config.disks):
        command += [
            *("-drive", f"file={disk},if=none,id=disk{number},format=raw,snapshot=on"),
            *("-device", f"virtio-blk-pci,drive=disk{number},serial={disk_serial(number)}"),
        ]
    if config.forwards or config.reaches_host:
        rules = "".join(f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for guest, host in config.forwards.items())
        # restrict=on: the guest answers on the forwarded ports and reaches nothing else
        kept = "off" if config.reaches_host else "on"
        command += ["-netdev", f"user,id=n1,restrict={kept}{rules}", "-device", "virtio-net-pci,netdev=n1"]
    return command


def disk_serial(number: int) -> str:
    """Return the serial by which the guest knows one of `GuestConfig.disks`."""
    return f"disk{number}"


def _virtual_time(*, skips_idle: bool) -> list[str]:
    """Return the options for a clock that counts a nanosecond an instruction, and shows in QEMU's answers.

    QEMU's answer to `qom-get /machine rtc-time` is then the guest's clock.
    """
    return ["-icount", f"shift=0,sleep={'off' if skips_idle else 'on'}", "-rtc", "base=utc,clock=vm"]


_UNCHECKED = "hardened_usercopy=off"
"""With the check Debian's 6.1 ends nvmet-tcp's worker at a copy over two huge pages that are neighbours, and
whatever is asked of the volume then waits for ever."""

_EMULATED_CPU = "max,-erms,-fsrm"
"""With those two a program copies by `rep movsb`, which is an instruction a byte to emulate and to count."""

_OVERLAID = ("/etc", "/lib", "/home", "/opt", "/srv", "/usr", "/var", "/tmp", "/root")  # noqa: S108 - guest's


_MOUNTED = b"version=9p2000.L,trans=virtio,access=any,msize=524288"
_MOUNTED_CACHING = b"trans=virtio,access=any,msize=524288,cache=loose"


def with_cached_root(initramfs: bytes) -> bytes:
    """Let the guest keep what it has read of the machine's file system, which is read-only beneath it.

    virtme-ng mounts it without a cache and has no option: every import would read its files and map
    its libraries anew. An uncompressed archive whose files keep their length stays valid.
    """
    return initramfs.replace(_MOUNTED, _MOUNTED_CACHING.ljust(len(_MOUNTED)))


def _redirected(word: str, saved: Path, initramfs_fd: int, console: Path) -> str:
    if word == str(saved):
        return f"/proc/self/fd/{initramfs_fd}"
    if word.startswith("file,id=ret,"):
        return "file,id=ret,path=/dev/null"
    if word.startswith("file,id="):
        return f"{word.rpartition(',path=')[0]},path={console},append=on"
    if word == "max":  # virtme-ng's choice where it emulates
        return _EMULATED_CPU
    if word == "accel=kvm:tcg":
        return "accel=kvm"  # a silent fall-back would pass for KVM and be twenty times slower
    if word.startswith("stdio,id=stdin"):
        return "null,id=stdin"
    return word


def _virtme_run() -> Path:
    """Find virtme-run beside the running interpreter, where pip put it, or on PATH."""
    beside = Path(sys.executable).parent / "virtme-run"
    if beside.is_file():
        return beside
    found = find_tool("virtme-run")
    if found is None:
        raise BootError(
            "virtme-ng is not installed", hint="`make setup` installs requirements-experiments.txt"
        )
    return Path(found)


def free_ports(count: int) -> list[int]:
    """Return `count` distinct loopback ports that are free at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]
