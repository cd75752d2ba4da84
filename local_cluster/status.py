"""What of the cluster is up, and what it takes of the machine."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx

from local_cluster import objects
from local_cluster.cluster import CONTEXT, FOLDER
from local_cluster.errors import NodeError
from local_cluster.kube import Kube
from local_cluster.node.boot import stage_of
from local_cluster.node.control import NodeControl
from local_cluster.node.cpu import spent
from local_cluster.node.settings import NODE, NodeSettings
from node_twin.guest.window import IDLE_SLICE

_LOOK_S: Final = 5.0


def lines(pid: int) -> Iterator[str]:
    """Describe the cluster whose process is `pid`, a line each."""
    kubeconfig = FOLDER / "plane" / "kubeconfig"
    yield f"process {pid}, context {CONTEXT}: export KUBECONFIG={kubeconfig}"
    try:
        kube = _client(kubeconfig)
        yield f"node {NODE}: {stage_of(kube)}"
        pods = kube.items("/api/v1/pods")
    except (OSError, ValueError, httpx.HTTPError) as error:
        yield f"the API server does not answer (yet): {error}"
    else:
        running = sum(pod["status"].get("phase") == "Running" for pod in pods)
        yield f"pods: {len(pods)}, {running} running"
        yield _cpu(objects.pod_names(kube))
        kube.close()
    for name, memory_bytes in memory_of_children(pid).items():
        yield f"memory of {name}: {memory_bytes >> 20} MiB"


def _cpu(pods: dict[str, str]) -> str:
    """Describe what takes the node's CPU now."""
    with contextlib.closing(NodeControl(NodeSettings.read(FOLDER).control_port)) as control:
        try:
            before = control.cpu()
            time.sleep(_LOOK_S)
            return f"the node's CPU, by its clock: {spent(before, control.cpu(), pods, IDLE_SLICE).told()}"
        except NodeError as error:
            return f"the node's CPU: {error}"


def _client(kubeconfig: Path) -> Kube:
    document = json.loads(kubeconfig.read_text(encoding="utf-8"))
    where = document["clusters"][0]["cluster"]
    return Kube(where["server"], document["users"][0]["user"]["token"], Path(where["certificate-authority"]))


def memory_of_children(pid: int) -> dict[str, int]:
    """Return the resident bytes of a process's children by program, its own as `python`."""
    found: dict[str, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            if pid in (int(folder.name), int(rest.split()[1])):
                pages = int((folder / "statm").read_text().split()[1])
                found[name] = found.get(name, 0) + pages * 4096
        except (OSError, ValueError):
            continue
    return found
