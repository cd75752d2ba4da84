"""What of the cluster is up, and what it takes of the machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx

from local_cluster.cluster import CONTEXT, FOLDER
from local_cluster.kube import Kube
from local_cluster.node.boot import stage_of
from local_cluster.node.settings import NODE


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
        kube.close()
    for name, memory_bytes in memory_of_children(pid).items():
        yield f"memory of {name}: {memory_bytes >> 20} MiB"


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
