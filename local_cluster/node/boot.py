"""Boot the node, and end it: nothing of it outlives the process that booted it."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drcio_controller.ebs import Volume, parse_volume
from local_cluster.control_plane import ControlPlane, User
from local_cluster.errors import NodeError, ToolMissing
from local_cluster.kube import Kube, Object
from local_cluster.node.control import NodeControl
from local_cluster.node.guest import DNS_KUBECONFIG, KUBELET_KUBECONFIG, PROXY_KUBECONFIG
from local_cluster.node.settings import DRIVERS, HOST_ADDRESS, LOGS, NODE, SHARED, NodeSettings
from local_cluster.node.supervisor import SYSTEMD, Systemd
from node_twin.errors import BootError, TwinError
from node_twin.host.prepare import Ground, TwinConfig, prepared
from node_twin.host.session import CPUS_WITH_KVM
from node_twin.host.vm import BOOT_ATTEMPTS, PANIC, Guest, GuestConfig, booted, disk_serial, free_ports
from node_twin.volume.image import VolumeRequest, attached

KUBELET: Final = User(name=f"system:node:{NODE}", groups=("system:nodes",))
PROXY: Final = User(name="system:kube-proxy")
DNS: Final = User(name="cluster-dns")
USERS: Final = (KUBELET, PROXY, DNS)
"""Whom the control plane has to know."""
CLAIM: Final = "shared"
_LOOK_EVERY_S: Final = 0.5
READY_WITHIN_S: Final = 900.0
VOLUME: Final = parse_volume("gp3")
_CNI_FOLDERS: Final = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
"""Debian's and Arch's, the project's own releases', Fedora's."""

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class NodeOptions:
    """What may differ from one cluster to another."""

    store: Path
    """The disk with the images (`local_cluster.images.store`)."""
    volume: Volume = VOLUME
    volume_bytes: int = 8 << 30
    volume_contents: Path | None = None
    """Copied to the volume before it is served: what a service prepared once, for example."""
    memory_mib: int = 4096
    cgroup_driver: str = DRIVERS[0]


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """What node to boot."""

    folder: Path
    """Its console, its logs and what it is told."""
    cache: Path
    """The twin's: kernel, the volume's server and whether KVM works are the same here."""
    engine: Path
    """Folder with kubelet, kube-proxy and coredns."""
    repository: Path
    options: NodeOptions


class Node:
    """A node that was Ready when it was made, and is again after each `reboot`."""

    def __init__(self, boot: Callable[[], Guest], control: NodeControl) -> None:
        self._boot = boot
        self.guest = boot()
        self.control = control

    def reboot(self) -> None:
        """End it without a warning, as a power cut does, and boot it anew; returns once it is Ready.

        What lies on the volume stays, what lay on the images' disk and in memory is gone.
        """
        self.guest.stop()
        self.guest = self._boot()


@contextlib.contextmanager
def node(config: NodeConfig, plane: ControlPlane, *, tell: Tell) -> Iterator[Node]:
    """Boot the node and yield it once it is Ready; a guest that panics at boot is booted again.

    Raises:
        NodeError: it did not become ready.
    """
    ground, options = _ground(config, tell), config.options
    request = VolumeRequest(
        claim=CLAIM, limits=options.volume, size_bytes=options.volume_bytes, contents=options.volume_contents
    )
    with contextlib.ExitStack() as stack:
        (image,) = stack.enter_context(attached([request], spill_dir=config.cache / "volumes"))
        port, control = free_ports(2)
        _write_files(
            config,
            plane,
            NodeSettings(
                engine=str(config.engine),
                cni=_cni_programs(),
                context=plane.options.context,
                kubelet_port=port,
                control_port=control,
                volume_server=str(ground.volume_server),
                volume=image.guest_option(),
                store_serial=disk_serial(0),
                cgroup_driver=options.cgroup_driver,
                virtual_time=not ground.kvm,
            ),
        )
        guest_config = GuestConfig(
            kernel=ground.kernel,
            command=[sys.executable, "-m", "local_cluster.node.guest"],
            cwd=config.repository,
            volumes=[image],
            forwards={port: port, control: control},
            shared_dirs={SHARED: config.folder},
            reaches_host=True,
            disks=[options.store],
            cpus=CPUS_WITH_KVM if ground.kvm else 1,
            memory_mib=options.memory_mib,
            kvm=ground.kvm,
        )
        with contextlib.closing(NodeControl(control)) as channel:
            yield Node(lambda: _until_ready(config, plane, guest_config, stack, tell), channel)


def _ground(config: NodeConfig, tell: Tell) -> Ground:
    """Prepare what a twin of the same kernel stands on.

    Raises:
        NodeError: it cannot be had.
    """
    if config.options.cgroup_driver == Systemd.driver and not SYSTEMD.exists():
        raise ToolMissing(
            f"no {SYSTEMD}, which runs the node's programs",
            hint="apt-get install systemd, or --cgroup-driver cgroupfs",
        )
    twin = TwinConfig(
        output=config.folder,
        cache=config.cache,
        volumes=(),
        repository=config.repository,
    )
    try:
        return prepared(twin, report=tell)
    except TwinError as error:
        raise NodeError(error.message, hint=error.hint) from error


def _cni_programs() -> str:
    """Find the CNI's programs, which no distribution has on PATH."""
    for folder in _CNI_FOLDERS:
        if (Path(folder) / "bridge").is_file():
            return folder
    raise ToolMissing(
        f"no CNI programs; looked for bridge in {', '.join(_CNI_FOLDERS)}",
        hint="apt-get install containernetworking-plugins",
    )


def _until_ready(
    config: NodeConfig,
    plane: ControlPlane,
    guest_config: GuestConfig,
    stack: contextlib.ExitStack,
    tell: Tell,
) -> Guest:
    console = config.folder / "console.log"
    earlier = boot_id(plane.kube)
    for attempt in range(1, BOOT_ATTEMPTS + 1):
        tell("booting the node" + ("" if attempt == 1 else f", attempt {attempt}: its kernel panicked"))
        guest = stack.enter_context(booted(guest_config, console=console))
        try:
            _wait(guest, plane, earlier, READY_WITHIN_S, tell)
        except BootError as error:
            guest.stop()
            if PANIC not in error.console_tail or attempt == BOOT_ATTEMPTS:
                raise NodeError(f"{error}\n{_logs(config.folder)}") from error
            console.rename(console.with_name(f"console-panic-{attempt}.log"))
        else:
            guest.boots = attempt
            return guest
    raise AssertionError("the last attempt returns or raises")


def _wait(guest: Guest, plane: ControlPlane, earlier: str | None, within_s: float, tell: Tell) -> None:
    """Wait until the node is Ready by the word of another boot's kubelet than the earlier one."""
    deadline, before = time.monotonic() + within_s, ""
    while time.monotonic() < deadline:
        if guest.exited():
            raise BootError("the guest stopped before its node was ready", console_tail=guest.console_tail())
        now = stage_of(plane.kube, earlier)
        if now != before:
            tell(f"the node is {now}")
            before = now
        if now == READY:
            return
        time.sleep(_LOOK_EVERY_S)
    raise BootError(f"the node is not Ready within {within_s:.0f} s", console_tail=guest.console_tail())


READY: Final = "Ready"


def stage_of(kube: Kube, earlier: str | None = None) -> str:
    """Return how far the node is: booting, registered, Ready; what an earlier boot said of it is void."""
    found = kube.get(f"/api/v1/nodes/{NODE}")
    if found is None or _boot_id(found) in ("", earlier):
        return "booting"
    states = {it["type"]: it["status"] for it in found["status"].get("conditions", ())}
    return READY if states.get("Ready") == "True" else "registered"


def boot_id(kube: Kube) -> str | None:
    """Return what names the node's last boot; None of a node that never registered."""
    found = kube.get(f"/api/v1/nodes/{NODE}")
    return None if found is None else _boot_id(found)


def _boot_id(found: Object) -> str:
    return str(found["status"].get("nodeInfo", {}).get("bootID", ""))


def _write_files(config: NodeConfig, plane: ControlPlane, settings: NodeSettings) -> None:
    (config.folder / LOGS).mkdir(parents=True, exist_ok=True)
    settings.write(config.folder)
    server = f"https://{HOST_ADDRESS}:{plane.port}"
    for name, user in ((KUBELET_KUBECONFIG, KUBELET), (PROXY_KUBECONFIG, PROXY), (DNS_KUBECONFIG, DNS)):
        path = config.folder / name
        path.touch(mode=0o600)
        path.write_text(json.dumps(plane.kubeconfig_for(user, server)))


def _logs(folder: Path) -> str:
    parts = []
    for log in sorted((folder / LOGS).glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-8:]
        parts.append("\n".join([f"--- {log.stem} logged last", *lines]))
    return "\n".join(parts)
