"""The guest's one command: network, volumes, Pod API, kubelet, sampler and control channel.

Started by `experiments.twin.session` inside the guest, as root, on the machine's own file system.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import os
import platform
import resource
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from drcio_controller.kube.jsontypes import text_at
from drcio_controller.kube.pod import QosClass
from drcio_controller.manifest import PORT as CONTROLLER_PORT
from drcio_controller.testing.podapi import ApiOptions
from drcio_controller.testing.server import PodApiServer
from drcio_controller.testing.store import PodStore, Resource
from experiments.jsonfields import JsonObject, JsonValue
from experiments.twin import blockdevice
from experiments.twin.control import ControlServer
from experiments.twin.kubelet import Kubelet, KubeletConfig, admission
from experiments.twin.kubelet import running as kubelet_running
from experiments.twin.kubelet.cgroups import pod_slice
from experiments.twin.layout import API_PORT, CONTROL_PORT, NODE_NAME, RESULTS_MOUNT
from experiments.twin.sampler import CGROUP_ROOT, SYS_ROOT, Sampler

_STATE = Path("/run/twin")
_ADDRESS = "10.0.2.15/24"  # QEMU's user network: guest .15, gateway .2
_GATEWAY = "10.0.2.2"
_IDLE_TIMEOUT_S = 60.0
_EMULATED_PATIENCE = 20.0
_OPEN_FILES = 1 << 20
"""What containerd's unit gives containers; a service must not meet another limit here."""

log = logging.getLogger("twin")


def main() -> int:
    options = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="twin %(levelname)s %(message)s", stream=sys.stderr)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    _bring_up_network()
    volumes = blockdevice.start(options.volume_server, options.volume)
    devices = volumes.names
    mounts = {claim: _mount(claim, device) for claim, device in devices.items()}
    numbers = {
        (SYS_ROOT / "block" / device / "dev").read_text().strip(): device for device in devices.values()
    }

    store = PodStore(graceful_deletion=True, admit=admission(NODE_NAME))
    kubelet = Kubelet(store, _kubelet_config(mounts))
    api = PodApiServer(store, ApiOptions(read_log=kubelet.read_log), host="0.0.0.0", port=API_PORT)  # noqa: S104 - reached through the user network's one forwarded port
    sampler = Sampler(pods=lambda: _pod_folders(store), devices=numbers, controller=_controller_status)
    control = ControlServer(
        {
            "GET /now": lambda _: {"monotonic_s": time.monotonic(), "unix_s": time.time()},
            "GET /samples": lambda query: _samples(sampler, int(query.get("since", "0"))),
            "GET /environment": lambda _: _environment(devices),
            "GET /knobs": lambda _: knobs(list(devices.values())),
            "POST /volume": lambda query: {"answer": volumes.ask(query["command"])},
            "POST /quiesce": lambda _: _quiesce(list(devices.values())),
        },
        host="0.0.0.0",  # noqa: S104 - as above
        port=CONTROL_PORT,
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with kubelet_running(kubelet):
        control.start()
        sampler.start()
        api.up()
        log.info("event=up volumes=%s", ",".join(mounts))
        stop.wait()
        api.down()
        sampler.stop()
        control.stop()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.twin.agent", description=__doc__)
    parser.add_argument(
        "--volume",
        action="append",
        default=[],
        type=blockdevice.parse_guest_volume,
        metavar="CLAIM=SERIAL@SLOT:SETTINGS",
        help="serve this volume and mount it for this claim; the first one is every claim's default",
    )
    parser.add_argument("--volume-server", type=Path, required=True, help="program that serves the volumes")
    return parser


def _bring_up_network() -> None:
    (interface,) = [path.name for path in Path("/sys/class/net").iterdir() if path.name != "lo"]
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "link", "set", interface, "up"],
        ["ip", "address", "replace", _ADDRESS, "dev", interface],
        ["ip", "route", "replace", "default", "via", _GATEWAY],
    ):
        subprocess.run(command, check=True)


def _mount(claim: str, device: str) -> Path:
    point = _STATE / "volumes" / claim
    point.mkdir(parents=True)
    subprocess.run(["mount", "-t", "ext4", "-o", "noatime", f"/dev/{device}", str(point)], check=True)
    return point


def _kubelet_config(mounts: Mapping[str, Path]) -> KubeletConfig:
    binaries = Path(sys.executable).parent
    memory_pages = os.sysconf("SC_PHYS_PAGES")
    return KubeletConfig(
        node_name=NODE_NAME,
        state_dir=_STATE / "kubelet",
        log_dir=RESULTS_MOUNT,
        claims=mounts,
        results_dir=RESULTS_MOUNT,
        base_env={
            "PATH": f"{binaries}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        image_dirs=tuple(
            dict.fromkeys((Path.cwd(), Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()))
        ),
        node_cpus=os.cpu_count() or 1,
        node_memory_bytes=memory_pages * os.sysconf("SC_PAGE_SIZE"),
        probe_patience=_EMULATED_PATIENCE,
    )


def _pod_folders(store: PodStore) -> dict[str, Path]:
    """Return each pod's slice by the pod's name."""
    _, pods = store.all(Resource.PODS)
    return {
        text_at(pod, "metadata", "name"): CGROUP_ROOT
        / pod_slice(QosClass(text_at(pod, "status", "qosClass")), text_at(pod, "metadata", "uid"))
        for pod in pods
    }


def _controller_status() -> JsonObject | None:
    """Ask the node agent for its own account; None while there is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{CONTROLLER_PORT}/status", timeout=2) as answer:
            status: JsonObject = json.load(answer)
            return status
    except (OSError, ValueError, http.client.HTTPException):
        return None  # not there, or it ended in the middle of its answer


def _samples(sampler: Sampler, since: int) -> JsonObject:
    count, samples = sampler.since(since)
    return {"count": count, "samples": samples}


def _environment(devices: Mapping[str, str]) -> JsonObject:
    (device, *_) = devices.values()
    return {
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "scheduler": _scheduler(device),
        "max_sectors_kb": int((SYS_ROOT / "block" / device / "queue" / "max_sectors_kb").read_text()),
        "device_of_claim": {
            claim: (SYS_ROOT / "block" / name / "dev").read_text().strip() for claim, name in devices.items()
        },
    }


def _quiesce(devices: list[str]) -> JsonObject:
    """Write back, drop caches, wait for empty queues."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    deadline = time.monotonic() + _IDLE_TIMEOUT_S
    while any(_in_flight(device) for device in devices):
        if time.monotonic() > deadline:
            raise OSError(f"a device of {', '.join(devices)} was still busy after {_IDLE_TIMEOUT_S:.0f} s")
        time.sleep(0.1)
    return {}


def _scheduler(device: str) -> str:
    """Return the active one; which others are at hand depends on what modules have been loaded."""
    text = (SYS_ROOT / "block" / device / "queue" / "scheduler").read_text()
    return text[text.find("[") + 1 : text.find("]")]


def _in_flight(device: str) -> int:
    return sum(int(word) for word in (SYS_ROOT / "block" / device / "inflight").read_text().split())


def knobs(devices: list[str]) -> JsonObject:
    """Return every I/O knob of the node by file, for comparing before and after.

    `io.cost.qos` and `io.cost.model` lines of a device that iocost is off for count as none: the
    kernel shows them from the first enabling on.
    """
    found: dict[str, JsonValue] = {}
    for name in ("io.cost.qos", "io.cost.model"):
        path = CGROUP_ROOT / name
        lines = path.read_text().splitlines() if path.exists() else []
        found[name] = "\n".join(line for line in lines if "enable=0" not in line and "ctrl=auto" not in line)
    for folder in [CGROUP_ROOT / "kubepods.slice", *sorted(CGROUP_ROOT.glob("kubepods.slice/**/*.slice"))]:
        for name in ("io.weight", "io.bfq.weight", "io.max"):
            path = folder / name
            if path.exists():
                found[path.relative_to(CGROUP_ROOT).as_posix()] = path.read_text().strip()
    for device in devices:
        queue = SYS_ROOT / "block" / device / "queue"
        found[f"{device}/scheduler"] = _scheduler(device)
        wbt = queue / "wbt_lat_usec"
        if wbt.exists():
            try:
                found[f"{device}/wbt_lat_usec"] = wbt.read_text().strip()
            except OSError:  # wbt is compiled in but not set up for this queue
                found[f"{device}/wbt_lat_usec"] = "none"
    return found


if __name__ == "__main__":
    sys.exit(main())
