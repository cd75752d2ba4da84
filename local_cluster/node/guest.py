"""The guest's one command: its network, its disks, and a node's programs.

Started by `local_cluster.node.boot` inside the guest, as root, on the machine's own file system. What it
starts it watches: a program that ends ends the guest, and its log says why.
"""

from __future__ import annotations

import json
import logging
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

from local_cluster.node import cpu, files
from local_cluster.node.settings import (
    HOST_ADDRESS,
    KUBELET_CONFIG,
    LOGS,
    NODE,
    NODE_ADDRESS,
    PROXY_CONFIG,
    SHARED,
    STORE_PATH,
    VOLUME_PATH,
    NodeSettings,
)
from local_cluster.node.supervisor import OPEN_FILES, Children, Supervisor, Systemd
from node_twin.guest.cgrouptree import knobs_of_pods
from node_twin.guest.control import ControlServer
from node_twin.guest.window import IdleTime
from node_twin.jsontypes import JsonObject
from node_twin.volume import blockdevice

CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
KUBELET_KUBECONFIG: Final = "kubelet.kubeconfig"
PROXY_KUBECONFIG: Final = "kube-proxy.kubeconfig"
DNS_KUBECONFIG: Final = "coredns.kubeconfig"
_MODULES: Final = (
    *("overlay", "veth", "bridge", "br_netfilter"),
    *("nf_nat", "nf_conntrack", "xt_MASQUERADE", "xt_conntrack", "xt_comment", "xt_mark", "xt_nat"),
    *("xt_statistic", "xt_multiport", "xt_addrtype", "ip_tables", "iptable_nat", "iptable_filter"),
    *("nf_tables", "nft_compat", "nft_chain_nat"),
)
_SYSCTLS: Final = {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
    # Replies of the host to a pod come in where a Service's address was written in.
    "net/ipv4/conf/all/route_localnet": "1",
    # As a kubelet asks for (--protect-kernel-defaults).
    "vm/overcommit_memory": "1",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
}
_LOOK_EVERY_S: Final = 1.0
_CONTAINERD_WITHIN_S: Final = 300.0
_RUN: Final = Path("/run/node")

log = logging.getLogger("node")


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="node %(levelname)s %(message)s", stream=sys.stderr)
    settings = NodeSettings.read(SHARED)
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    _RUN.mkdir(exist_ok=True)
    prepare_kernel()
    bring_up_network()
    volumes = mount_disks(settings)
    write_files(settings)
    idle = IdleTime(virtual=settings.virtual_time)
    programs = Programs(settings)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    programs.start()
    control = ControlServer(
        {
            "GET /cpu": lambda _: cpu.look(time.monotonic(), proc=Path("/proc"), cgroup_root=CGROUP_ROOT),
            "GET /cgroups": lambda _: knobs_of_pods(CGROUP_ROOT),
            "POST /exact": lambda asked: _execute(idle, on=asked["on"] is True),
            "POST /restart": lambda asked: programs.restart(str(asked["program"])),
            "POST /volume": lambda asked: {"answer": volumes.ask(str(asked["command"]))},
        },
        host="0.0.0.0",  # noqa: S104 - reached through the user network's one forwarded port
        port=settings.control_port,
    )
    control.start()
    while not stop.wait(_LOOK_EVERY_S):
        if ended := programs.ended():
            log.error("event=ended program=%s", ended)
            return 1
    return 0


def _execute(idle: IdleTime, *, on: bool) -> JsonObject:
    idle.execute(on=on)
    return {}


def prepare_kernel() -> None:
    """Load what containers and Services need, and set what a node has set."""
    subprocess.run(["modprobe", "-a", "-q", *_MODULES], check=False)
    for name, value in _SYSCTLS.items():
        (Path("/proc/sys") / name).write_text(value)


def bring_up_network() -> None:
    """Give the one interface QEMU's address, and the node its name."""
    (interface,) = [path.name for path in Path("/sys/class/net").iterdir() if (path / "device").exists()]
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "link", "set", interface, "up"],
        ["ip", "address", "replace", f"{NODE_ADDRESS}/24", "dev", interface],
        ["ip", "route", "replace", "default", "via", HOST_ADDRESS],
        ["hostname", NODE],
    ):
        subprocess.run(command, check=True)


def mount_disks(settings: NodeSettings) -> blockdevice.BlockDevices:
    """Mount the images' disk and the throttled volume."""
    _mount(_disk(settings.store_serial), STORE_PATH)
    devices = blockdevice.start(
        Path(settings.volume_server), [blockdevice.parse_guest_volume(settings.volume)]
    )
    (name,) = devices.names.values()
    _mount(Path("/dev") / name, VOLUME_PATH)
    kubelet = STORE_PATH / "kubelet"
    kubelet.mkdir(exist_ok=True)
    place = Path("/var/lib/kubelet")
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", str(kubelet), str(place)], check=True)
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    return devices


def _disk(serial: str) -> Path:
    for path in Path("/sys/block").iterdir():
        if (path / "serial").exists() and (path / "serial").read_text().strip() == serial:
            return Path("/dev") / path.name
    raise FileNotFoundError(f"no disk with serial {serial}")


def _mount(device: Path, point: Path) -> None:
    point.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "ext4", "-o", "noatime", str(device), str(point)], check=True)


def write_files(settings: NodeSettings) -> None:
    files.CNI_FOLDER.mkdir(parents=True, exist_ok=True)
    (files.CNI_FOLDER / "10-local.conflist").write_text(json.dumps(files.network()))
    # Nothing outside is resolved: the guest reaches the host alone.
    files.RESOLV_CONF.write_text("")
    (_RUN / "containerd.toml").write_text(files.containerd(settings.cni, settings.cgroup_driver))
    (_RUN / KUBELET_CONFIG).write_text(
        json.dumps(files.kubelet(settings.kubelet_port, settings.cgroup_driver))
    )
    (_RUN / "Corefile").write_text(files.dns(SHARED / DNS_KUBECONFIG, settings.context))
    (_RUN / PROXY_CONFIG).write_text(json.dumps(files.proxy(SHARED / PROXY_KUBECONFIG)))


class Programs:
    """The node's programs, in the order in which they need each other."""

    def __init__(self, settings: NodeSettings) -> None:
        self._commands = commands(settings)
        self._supervisor: Supervisor = (
            Systemd(SHARED / LOGS, CGROUP_ROOT, _RUN)
            if settings.cgroup_driver == Systemd.driver
            else Children(SHARED / LOGS, CGROUP_ROOT)
        )
        self._changing = threading.Lock()

    def start(self) -> None:
        """Start all of them, the kubelet once containerd answers."""
        self._supervisor.begin(self._commands)
        log.info("event=supervised driver=%s clock_s=%.1f", self._supervisor.driver, time.monotonic())
        # Systemd takes its own file's name for the host's.
        subprocess.run(["hostname", NODE], check=True)
        for name in self._commands:
            if name == "kubelet":
                self._wait_for_containerd()
            self._supervisor.start(name)
            log.info("event=started program=%s clock_s=%.1f", name, time.monotonic())

    def ended(self) -> str | None:
        """Return the name of a program that is no more."""
        with self._changing:
            return self._supervisor.ended()

    def restart(self, name: str) -> JsonObject:
        """Kill a program and start it again; raises ValueError where there is none of that name."""
        if name not in self._commands:
            raise ValueError(f"no program {name!r}; expected one of {', '.join(self._commands)}")
        with self._changing:
            self._supervisor.restart(name)
        return {}

    def _wait_for_containerd(self) -> None:
        deadline = time.monotonic() + _CONTAINERD_WITHIN_S
        while not files.CONTAINERD_SOCKET.is_socket():
            if time.monotonic() > deadline or self.ended():
                raise TimeoutError("containerd does not answer; its log says why")
            time.sleep(0.2)
        log.info("event=answers program=containerd clock_s=%.1f", time.monotonic())


def commands(settings: NodeSettings) -> dict[str, list[str]]:
    """Return the programs' command lines, in the order in which they are started."""
    engine = Path(settings.engine)
    return {
        "containerd": [shutil.which("containerd") or "containerd", f"--config={_RUN / 'containerd.toml'}"],
        "kube-proxy": [str(engine / "kube-proxy"), f"--config={_RUN / PROXY_CONFIG}"],
        "coredns": [str(engine / "coredns"), f"-conf={_RUN / 'Corefile'}"],
        "kubelet": [
            str(engine / "kubelet"),
            f"--config={_RUN / KUBELET_CONFIG}",
            f"--kubeconfig={SHARED / KUBELET_KUBECONFIG}",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_ADDRESS}",
            "--cert-dir=/run/kubelet-pki",
            "--cloud-provider=external",
            # cAdvisor looks at every cgroup each ten seconds, for statistics that nobody asks for here.
            "--housekeeping-interval=60s",
            "--v=2",
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
