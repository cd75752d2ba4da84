"""Boot a twin, and be sure that it ends."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from node_twin.errors import BootError
from node_twin.host.prepare import Ground, Report, TwinConfig, prepared
from node_twin.host.twin import Twin
from node_twin.host.vm import BOOT_ATTEMPTS, PANIC, Guest, GuestConfig, booted, free_ports
from node_twin.layout import API_PORT, CONTROL_PORT, PODS_FOLDER, RESULTS_MOUNT
from node_twin.volume.image import attached

BOOT_TIMEOUT_S = 600.0
"""About twenty times what boot and agent take emulated on two idle cores (30 s); machines are shared."""
INSTRUCTIONS_PER_S = 10**9
"""Of an emulated guest's clock: one a nanosecond (`-icount shift=0`, the fastest there is)."""
CPUS_WITH_KVM = 2
"""An emulated guest has one: several would share its instructions a second, and an interrupt from one to
another would wait for its turn."""


@dataclass(frozen=True, kw_only=True)
class Boot:
    """A twin on its way."""

    kvm: bool
    up: Callable[[], Twin]
    """Wait until its Pod API answers, and return it; raises BootError where it does not."""


@contextlib.contextmanager
def running(config: TwinConfig, *, report: Report = lambda _: None) -> Iterator[Twin]:
    """Boot a twin and yield it once its Pod API answers; everything of it ends with the context."""
    with booting(config, report=report) as boot:
        yield boot.up()


@contextlib.contextmanager
def booting(
    config: TwinConfig, *, ground: Ground | None = None, report: Report = lambda _: None
) -> Iterator[Boot]:
    """Start a twin and yield its boot, so that several boot at the same time.

    For a thread that lives as long as the twin does: QEMU ends with the thread that started it.
    """
    ground = ground or prepared(config, report=report)
    config.output.mkdir(parents=True, exist_ok=True)
    report("making the volume")
    pod_files = config.output / PODS_FOLDER
    pod_files.mkdir(exist_ok=True)
    with attached(list(config.volumes), spill_dir=config.cache / "volumes") as images:
        guest_ports = [API_PORT, CONTROL_PORT, *config.published_ports]
        ports = dict(zip(guest_ports, free_ports(len(guest_ports)), strict=True))
        agent = [
            *(sys.executable, "-m", "node_twin.guest.agent"),
            f"--volume-server={ground.volume_server}",
            *(f"--volume={image.guest_option()}" for image in images),
            *([] if ground.kvm else ["--virtual-time"]),
        ]
        guest_config = GuestConfig(
            kernel=ground.kernel,
            command=agent,
            cwd=config.repository,
            volumes=images,
            forwards=ports,
            shared_dirs={RESULTS_MOUNT: pod_files},
            cpus=CPUS_WITH_KVM if ground.kvm else 1,
            memory_mib=config.memory_mib,
            kvm=ground.kvm,
            kernel_arguments=config.kernel_arguments,
        )
        report("booting the guest" + ("" if ground.kvm else " (emulated: about half a minute)"))
        console = config.output / "console.log"
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(booted(guest_config, console=console))

            def up() -> Twin:
                guest = _until_up(
                    first,
                    lambda: stack.enter_context(booted(guest_config, console=console)),
                    f"http://127.0.0.1:{ports[API_PORT]}/version",
                    console,
                )
                return stack.enter_context(contextlib.closing(Twin(guest, images, ports, kvm=ground.kvm)))

            yield Boot(kvm=ground.kvm, up=up)


def _until_up(guest: Guest, again: Callable[[], Guest], url: str, console: Path) -> Guest:
    """Return the guest once it answers; one whose kernel panicked before is booted again.

    The console of a boot that panicked is kept beside `console`, with a number.
    """
    for attempt in range(1, BOOT_ATTEMPTS + 1):
        try:
            guest.wait_until(
                lambda: _answers(url), timeout_s=BOOT_TIMEOUT_S, what="answer from the twin's Pod API"
            )
        except BootError as error:
            if PANIC not in error.console_tail or attempt == BOOT_ATTEMPTS:
                raise
            guest.stop()
            console.rename(console.with_name(f"{console.stem}-panic-{attempt}{console.suffix}"))
            guest = again()
        else:
            guest.boots = attempt
            break
    return guest


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).is_success
    except httpx.TransportError:
        return False
