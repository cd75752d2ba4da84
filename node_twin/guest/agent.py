"""The guest's one command: network, volumes, Pod API, kubelet, load generator and control channel.

Started by `node_twin.host.session` inside the guest, as root, on the machine's own file system.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import logging
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from drcio_controller.kube.jsontypes import JsonObject as KubeObject
from drcio_controller.kube.jsontypes import text_at
from drcio_controller.kube.pod import QosClass
from drcio_controller.manifest import PORT as CONTROLLER_PORT
from drcio_controller.testing.podapi import ApiOptions
from drcio_controller.testing.server import PodApiServer
from drcio_controller.testing.store import PodStore, Resource
from node_twin.guest.cgrouptree import knobs_of_pods
from node_twin.guest.control import ControlServer, Handler
from node_twin.guest.sampler import CGROUP_ROOT, SYS_ROOT, Sampler
from node_twin.guest.waits import await_bytes, await_pod
from node_twin.guest.window import IdleTime, LoadGenerator, Window, host_file_requests
from node_twin.jsontypes import JsonObject, JsonValue
from node_twin.kubelet import Kubelet, KubeletConfig, admission
from node_twin.kubelet import running as kubelet_running
from node_twin.kubelet.cgroups import pod_slice
from node_twin.layout import (
    API_PORT,
    CONTROL_PORT,
    NODE_NAME,
    PODS_STATE,
    RESULTS_MOUNT,
    container_environment,
)
from node_twin.volume import blockdevice

_STATE = Path("/run/twin")
_ADDRESS = "10.0.2.15/24"  # QEMU's user network: guest .15, gateway .2
_GATEWAY = "10.0.2.2"
_IDLE_TIMEOUT_S = 60.0
_SOUGHT_EVERY_S = 0.1
_OPEN_FILES = 1 << 20
"""What containerd's unit gives containers; a service must not meet another limit here."""

log = logging.getLogger("twin")


def main() -> int:
    options = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="twin %(levelname)s %(message)s", stream=sys.stderr)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    PODS_STATE.mkdir(parents=True)
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
    load = LoadGenerator()
    idle = IdleTime(virtual=options.virtual_time)
    handlers: dict[str, Handler] = {
        **_looks(sampler, devices),
        **_waits(store, idle),
        **_measuring(store, load, Window(sampler, load, idle)),
        "POST /volume": lambda arguments: {"answer": volumes.ask(cast(str, arguments["command"]))},
        "POST /quiesce": lambda _: _quiesce(mounts, devices),
        "POST /collect": lambda _: _collect(store),
    }
    control = ControlServer(handlers, host="0.0.0.0", port=CONTROL_PORT)  # noqa: S104 - as above
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with kubelet_running(kubelet):
        control.start()
        api.up()
        log.info("event=up volumes=%s", ",".join(mounts))
        stop.wait()
        api.down()
        control.stop()
        idle.close()
    return 0


def _looks(sampler: Sampler, devices: Mapping[str, str]) -> dict[str, Handler]:
    return {
        "GET /now": lambda _: {"monotonic_s": time.monotonic(), "unix_s": time.time()},
        "GET /sample": lambda _: sampler.sample(),
        "GET /environment": lambda _: _environment(devices),
        "GET /knobs": lambda _: knobs(list(devices.values())),
        "GET /cgroups": lambda _: knobs_of_pods(CGROUP_ROOT),
    }


def _waits(store: PodStore, idle: IdleTime) -> dict[str, Handler]:
    def wait(arguments: JsonObject) -> JsonObject:
        with idle.executed():  # quicker than idling, and exact
            time.sleep(cast(float, arguments["seconds"]))
        return {"monotonic_s": time.monotonic()}

    def exact(arguments: JsonObject) -> JsonObject:
        idle.execute(on=arguments["on"] is True)
        return {}

    def pod(arguments: JsonObject) -> JsonObject:
        return await_pod(
            store,
            cast(str, arguments["name"]),
            cast(str, arguments["state"]),
            cast("float | None", arguments["timeout_s"]),
        )

    def moved(arguments: JsonObject) -> JsonObject:
        return await_bytes(
            store,
            cast(str, arguments["name"]),
            lambda name: _pod_folders(store).get(name),
            cast(int, arguments["bytes"]),
        )

    return {"POST /exact": exact, "POST /wait": wait, "POST /await-pod": pod, "POST /await-bytes": moved}


def _measuring(store: PodStore, load: LoadGenerator, window: Window) -> dict[str, Handler]:
    def record(arguments: JsonObject) -> JsonObject:
        seconds, pods = cast(float, arguments["seconds"]), cast("list[str]", arguments["until_ended"])
        starting = cast("KubeObject | None", arguments.get("start"))
        with window.observed() as samples:
            host_files = host_file_requests()
            deadline_s = time.monotonic() + seconds
            if starting is not None:
                store.create(Resource.PODS, text_at(starting, "metadata", "namespace"), starting)
            over = [await_pod(store, pod, "ended", deadline_s - time.monotonic())["over"] for pod in pods]
            if not pods:
                time.sleep(seconds)
            host_files = host_file_requests() - host_files
        return {"samples": samples, "over": all(over), "host_file_requests": host_files}

    return {
        "POST /load": lambda arguments: window.run(
            cast(JsonObject, arguments["plan"]), cast("list[int]", arguments["scrape"])
        ),
        "POST /stream": load.ask,
        "POST /record": record,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m node_twin.guest.agent", description=__doc__)
    parser.add_argument(
        "--volume",
        action="append",
        default=[],
        type=blockdevice.parse_guest_volume,
        metavar="CLAIM=SERIAL@SLOT:SETTINGS",
        help="serve this volume and mount it for this claim; the first one is every claim's default",
    )
    parser.add_argument("--volume-server", type=Path, required=True, help="program that serves the volumes")
    parser.add_argument(
        "--virtual-time",
        action="store_true",
        help="the guest's clock counts instructions: execute idle time while something is measured",
    )
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
    memory_pages = os.sysconf("SC_PHYS_PAGES")
    return KubeletConfig(
        node_name=NODE_NAME,
        state_dir=_STATE / "kubelet",
        log_dir=PODS_STATE,
        claims=mounts,
        results_dir=PODS_STATE,
        base_env=container_environment(),
        image_dirs=tuple(
            dict.fromkeys((Path.cwd(), Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()))
        ),
        node_cpus=os.cpu_count() or 1,
        node_memory_bytes=memory_pages * os.sysconf("SC_PAGE_SIZE"),
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


def _quiesce(mounts: Mapping[str, Path], devices: Mapping[str, str]) -> JsonObject:
    """Write back, drop what is cached of the volumes' files, wait for empty queues.

    Of the volumes only: dropping all caches would have programs read from the host once more.
    """
    os.sync()
    for mount in mounts.values():
        for file in mount.rglob("*"):
            if file.is_file() and not file.is_symlink():
                with contextlib.suppress(FileNotFoundError):
                    _drop_pages(file)
    deadline = time.monotonic() + _IDLE_TIMEOUT_S
    while any(_in_flight(device) for device in devices.values()):
        if time.monotonic() > deadline:
            raise OSError(
                f"a device of {', '.join(devices.values())} was still busy after {_IDLE_TIMEOUT_S:.0f} s"
            )
        time.sleep(_SOUGHT_EVERY_S)
    return {}


def _drop_pages(file: Path) -> None:
    fd = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def _collect(store: PodStore) -> JsonObject:
    """Copy the pods' logs and results to the host's folder; forget results of pods that have gone."""
    shutil.copytree(PODS_STATE, RESULTS_MOUNT, dirs_exist_ok=True, copy_function=_copied_if_new)
    _, pods = store.all(Resource.PODS)
    present = {text_at(pod, "metadata", "name") for pod in pods}
    for own in PODS_STATE.glob("*/results"):
        if own.parent.name not in present:
            shutil.rmtree(own.parent)
    return {}


def _copied_if_new(source: str, target: str) -> str:
    made, there = Path(source).stat(), Path(target)
    if not there.exists() or there.stat().st_size != made.st_size or there.stat().st_mtime < made.st_mtime:
        shutil.copy2(source, target)
    return target


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
