"""Find a pod's cgroup: both kubelet drivers, all three QoS classes.

kubelet's layout (pkg/kubelet/cm/cgroup_manager_linux.go): with the systemd driver every level
repeats its parents' names and `-` in the uid becomes `_`; Guaranteed pods sit directly under the
kubepods root, beside the two QoS slices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from drcio_controller.kube.pod import QosClass


class Driver(StrEnum):
    """kubelet's cgroup drivers."""

    SYSTEMD = "systemd"
    CGROUPFS = "cgroupfs"


_KUBEPODS: Final = {Driver.SYSTEMD: "kubepods.slice", Driver.CGROUPFS: "kubepods"}
_PREFIXES: Final = ("", "kubelet.slice/kubelet-", "kubelet/")
"""Where kubepods may hang: the root (EKS, kubeadm) or below kubelet's own cgroup (kind)."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where this node's pods live. Paths are plain text below the cgroup root: pathlib's arithmetic,
    done for every pod at every tick, would be half of the agent's CPU time."""

    driver: Driver
    kubepods: str

    def qos_slice(self, qos: QosClass) -> str:
        """Return the slice that holds pods of a QoS class; Guaranteed pods have none of their own."""
        if qos is QosClass.GUARANTEED:
            return self.kubepods
        word = qos.value.lower()
        if self.driver is Driver.CGROUPFS:
            return f"{self.kubepods}/{word}"
        return f"{self.kubepods}/{_stem(self.kubepods)}-{word}.slice"

    def pod(self, uid: str, qos: QosClass) -> str:
        """Return a pod's cgroup."""
        parent = self.qos_slice(qos)
        if self.driver is Driver.CGROUPFS:
            return f"{parent}/pod{uid}"
        return f"{parent}/{_stem(parent)}-pod{uid.replace('-', '_')}.slice"

    @property
    def slices(self) -> tuple[str, str]:
        """Return the two QoS slices, heavier class first."""
        return (self.qos_slice(QosClass.BURSTABLE), self.qos_slice(QosClass.BEST_EFFORT))

    @property
    def levels(self) -> tuple[str, ...]:
        """Return every cgroup above pods, the root (an empty path) first."""
        parts = self.kubepods.split("/")
        above = ("/".join(parts[:depth]) for depth in range(len(parts)))
        return (*above, self.kubepods, *self.slices)


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".slice")


def find_hierarchy(exists: Callable[[str], bool]) -> Hierarchy | None:
    """Return the hierarchy whose kubepods cgroup exists, or None before kubelet has made one."""
    for prefix in _PREFIXES:
        for driver, name in _KUBEPODS.items():
            path = prefix + name
            if exists(path):
                return Hierarchy(driver, path)
    return None
