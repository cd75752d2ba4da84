"""The cgroups of pods: their names, their knobs, and the tree itself.

Names and knobs are those of kubelet with the systemd driver and of containerd, on cgroup v2. The
twin's guest has no systemd; the tree is made by hand and looks the same from below.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from drcio_controller.kube.pod import QosClass

from .manifest import PodManifest, Resources

log = logging.getLogger(__name__)

KUBEPODS = "kubepods.slice"
CONTROLLERS = ("cpu", "memory", "io", "pids", "cpuset")

# kubelet: pkg/kubelet/cm/helpers_linux.go
_MIN_SHARES, _MAX_SHARES = 2, 262144
_CPU_PERIOD_US = 100_000
_MIN_QUOTA_US = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Knobs:
    """What is written into one cgroup; None leaves the kernel's default."""

    cpu_weight: int
    cpu_quota_us: int | None = None
    memory_max_bytes: int | None = None
    of_container: bool = False
    """Containers alone are killed whole (memory.oom.group, since Kubernetes 1.28), and may not swap
    (memory.swap.max, the kubelet's NoSwap)."""

    def files(self) -> dict[str, str]:
        """Return file names and what to write to them."""
        files = {"cpu.weight": str(self.cpu_weight)}
        if self.cpu_quota_us is not None:
            files["cpu.max"] = f"{self.cpu_quota_us} {_CPU_PERIOD_US}"
        if self.memory_max_bytes is not None:
            files["memory.max"] = str(self.memory_max_bytes)
        if self.of_container:
            files |= {"memory.oom.group": "1", "memory.swap.max": "0"}
        return files


def qos_slice(qos: QosClass) -> str:
    """Return the path, below the cgroup root, of the slice that the class's pods are in."""
    if qos is QosClass.GUARANTEED:
        return KUBEPODS
    return f"{KUBEPODS}/kubepods-{qos.lower()}.slice"


def pod_slice(qos: QosClass, uid: str) -> str:
    """Return the path of a pod's slice; systemd reads `-` as nesting, hence the `_`."""
    parent = qos_slice(qos)
    stem = parent.rpartition("/")[2].removesuffix(".slice")
    return f"{parent}/{stem}-pod{uid.replace('-', '_')}.slice"


def container_scope(container_id: str) -> str:
    """Return the name of a container's scope within its pod's slice."""
    return f"cri-containerd-{container_id}.scope"


def cpu_shares(milli_cpu: int) -> int:
    """Return cgroup v1 shares for a CPU request (kubelet: MilliCPUToShares)."""
    return min(max(milli_cpu * 1024 // 1000, _MIN_SHARES), _MAX_SHARES)


def cpu_weight(shares: int) -> int:
    """Return cgroup v2's cpu.weight for v1 shares (kubelet: CpuSharesToCpuWeight)."""
    return (shares - _MIN_SHARES) * 9999 // (_MAX_SHARES - _MIN_SHARES) + 1


def container_knobs(resources: Resources) -> Knobs:
    """Return what a container's scope gets."""
    return Knobs(
        cpu_weight=cpu_weight(cpu_shares(resources.cpu_request_milli or 0)),
        cpu_quota_us=_quota_us(resources.cpu_limit_milli or None),
        memory_max_bytes=resources.memory_limit_bytes or None,
        of_container=True,
    )


def pod_knobs(manifest: PodManifest) -> Knobs:
    """Return what a pod's slice gets: limits only where every container has one."""
    cpu_limits_milli = [each.resources.cpu_limit_milli for each in manifest.containers]
    memory_limits_bytes = [each.resources.memory_limit_bytes for each in manifest.containers]
    init = [each.resources for each in manifest.init_containers]
    return Knobs(
        cpu_weight=cpu_weight(cpu_shares(pod_cpu_request_milli(manifest))),
        cpu_quota_us=_quota_us(_total(cpu_limits_milli, [each.cpu_limit_milli for each in init])),
        memory_max_bytes=_total(memory_limits_bytes, [each.memory_limit_bytes for each in init]),
    )


def pod_cpu_request_milli(manifest: PodManifest) -> int:
    """Return a pod's CPU request: the sum of its containers', or its largest init container's."""
    running = sum(each.resources.cpu_request_milli or 0 for each in manifest.containers)
    init = (each.resources.cpu_request_milli or 0 for each in manifest.init_containers)
    return max(running, *init, 0)


def slice_weights(pods: Iterable[tuple[QosClass, PodManifest]], node_cpus: int) -> Mapping[str, int]:
    """Return cpu.weight of kubepods.slice and of the QoS slices in it.

    The burstable slice weighs what its pods request together, the best-effort slice the least there
    is (kubelet: qosContainerManagerImpl).
    """
    burstable_milli = sum(pod_cpu_request_milli(pod) for qos, pod in pods if qos is QosClass.BURSTABLE)
    return {
        KUBEPODS: cpu_weight(cpu_shares(node_cpus * 1000)),
        qos_slice(QosClass.BURSTABLE): cpu_weight(cpu_shares(burstable_milli)),
        qos_slice(QosClass.BEST_EFFORT): cpu_weight(_MIN_SHARES),
    }


def oom_score_adj(qos: QosClass, resources: Resources, node_memory_bytes: int) -> int:
    """Return how early the kernel kills the container (kubelet: pkg/kubelet/qos/policy.go)."""
    if qos is QosClass.GUARANTEED:
        return -997
    if qos is QosClass.BEST_EFFORT:
        return 1000
    requested = resources.memory_request_bytes or 0
    return min(max(1000 - 1000 * requested // node_memory_bytes, 3), 999)


def _quota_us(milli_cpu: int | None) -> int | None:
    return None if milli_cpu is None else max(milli_cpu * _CPU_PERIOD_US // 1000, _MIN_QUOTA_US)


def _total(limits: list[int | None], init_limits: list[int | None]) -> int | None:
    given = [limit for limit in limits if limit]
    if len(given) < len(limits):
        return None
    return max(sum(given), *(limit or 0 for limit in init_limits), 0)


class CgroupTree:
    """The cgroup file system under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, path: str, knobs: Knobs | None = None, *, delegate: bool) -> Path:
        """Make the cgroup at `path`, write its knobs; with `delegate`, turn controllers on below it."""
        directory = self.root / path
        directory.mkdir(exist_ok=True)
        for name, value in (knobs.files() if knobs else {}).items():
            self.write(directory / name, value)
        if delegate:
            self.delegate(directory)
        return directory

    def delegate(self, directory: Path) -> None:
        """Turn on, for the children of `directory`, every controller of ours that it has."""
        try:
            available = (directory / "cgroup.controllers").read_text().split()
        except FileNotFoundError:
            return
        wanted = [f"+{name}" for name in CONTROLLERS if name in available]
        if wanted:
            self.write(directory / "cgroup.subtree_control", " ".join(wanted))

    def write(self, file: Path, value: str) -> None:
        """Write one knob; a kernel that does not have it is reported, not fatal."""
        try:
            # Opened without O_CREAT: a missing knob must not turn into a plain file.
            descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            log.warning("event=knob_missing file=%s value=%r", file, value)
            return
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)

    def kill(self, path: str) -> None:
        """Kill every process in the cgroup and below."""
        self.write(self.root / path / "cgroup.kill", "1")

    def oom_kills(self, path: str) -> int:
        """Return how many processes of the cgroup the kernel has killed for want of memory."""
        try:
            lines = (self.root / path / "memory.events").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    def remove(self, path: str) -> bool:
        """Remove the cgroup and its empty descendants; return whether it is gone."""
        directory = self.root / path
        if not directory.exists():
            return True
        children = [entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
        for child in children:
            self.remove(f"{path}/{child}")
        try:
            directory.rmdir()
        except FileNotFoundError:
            return True
        except OSError:  # EBUSY: a process has not quite gone yet; the caller tries again
            return False
        return True
