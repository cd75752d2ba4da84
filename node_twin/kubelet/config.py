"""The node as its kubelet sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .restarts import CrashLoopBackOff


@dataclass(frozen=True, kw_only=True)
class KubeletConfig:
    """Where things are on this node."""

    node_name: str
    cgroup_root: Path = Path("/sys/fs/cgroup")
    state_dir: Path
    """Pods' own directories; on a tmpfs, best."""
    log_dir: Path
    """NAMESPACE_POD_UID/CONTAINER/RESTART.log, as on a node."""
    claims: Mapping[str, Path]
    """Mounted volumes by PersistentVolumeClaim; a claim of any other name stands for the first."""
    results_dir: Path | None = None
    """Every container finds a directory of this one, `results_of` its pod, at /results."""
    base_env: Mapping[str, str] = field(default_factory=dict)
    """What an image would set; PATH above all."""
    image_dirs: tuple[Path, ...] = ()
    """What stands for every image's content. A volume mounted above it does not hide it: where the
    checkout lies is the machine's affair, not the manifest's."""
    node_cpus: int = 1
    node_memory_bytes: int = 1 << 30
    crash_loop: CrashLoopBackOff = field(default_factory=CrashLoopBackOff)


def results_of(results_dir: Path, pod: str) -> Path:
    """Return the directory that a pod of this name has at /results."""
    return results_dir / pod / "results"
