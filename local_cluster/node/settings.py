"""What the host tells its guest, and where things are in the guest."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

NODE: Final = "local"
"""The node's name."""
SHARED: Final = Path("/run/cluster")
"""The host's folder in the guest: settings and kubeconfigs are read there, logs and metrics written."""
SETTINGS: Final = "settings.json"
HOST_ADDRESS: Final = "10.0.2.2"
"""Where QEMU's user network has the host's loopback."""
NODE_ADDRESS: Final = "10.0.2.15"
CLUSTER_DOMAIN: Final = "cluster.local"
POD_RANGE: Final = "10.244.0.0/24"
VOLUME_PATH: Final = Path("/run/node/volume")
"""The throttled volume, in the guest."""
STORE_PATH: Final = Path("/run/node/store")
"""The disk with the images; containers write there too."""
PAUSE_IMAGE: Final = "drcio/pause:local"
KUBELET_CONFIG: Final = "kubelet.json"
PROXY_CONFIG: Final = "kube-proxy.json"
LOGS: Final = "logs"
DRIVERS: Final = ("systemd", "cgroupfs")
"""The kubelet's ways of making cgroups; the first is EKS's."""


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """What one guest is told."""

    engine: str
    """Folder with kubelet, kube-proxy and coredns."""
    cni: str
    """Folder with the CNI's programs."""
    context: str
    """Of the kubeconfigs."""
    kubelet_port: int
    control_port: int
    volume_server: str
    volume: str
    """As `node_twin.volume.blockdevice.parse_guest_volume` reads it."""
    store_serial: str
    cgroup_driver: str
    """The kubelet's: systemd or cgroupfs (`local_cluster.node.supervisor`)."""
    virtual_time: bool
    """Its clock counts instructions."""

    def write(self, folder: Path) -> None:
        (folder / SETTINGS).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> NodeSettings:
        return cls(**json.loads((folder / SETTINGS).read_text(encoding="utf-8")))
