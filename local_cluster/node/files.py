"""The configuration of the node's programs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from local_cluster.node.settings import (
    CLUSTER_DOMAIN,
    NODE,
    NODE_ADDRESS,
    PAUSE_IMAGE,
    POD_RANGE,
    STORE_PATH,
)

CONTAINERD_SOCKET: Final = Path("/run/containerd/containerd.sock")
CNI_FOLDER: Final = Path("/run/cni")
RESOLV_CONF: Final = Path("/run/node/resolv.conf")

Tree = dict[str, object]


def containerd(cni: str, cgroup_driver: str) -> str:
    """Return containerd's configuration: its root on the store, `cni` the folder with the CNI's programs."""
    by_systemd = str(cgroup_driver == "systemd").lower()
    return f"""\
version = 2
root = "{STORE_PATH}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/{PAUSE_IMAGE}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = {by_systemd}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{CNI_FOLDER}"
"""


def network() -> Tree:
    """Return the CNI's configuration: a bridge, addresses from one range, masqueraded towards the host."""
    return {
        "cniVersion": "1.0.0",
        "name": "local",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-addresses",
                    "ranges": [[{"subnet": POD_RANGE}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def kubelet(port: int, cgroup_driver: str) -> Tree:
    """Return a KubeletConfiguration.

    Everybody may ask this kubelet everything: it is reached through one port of the host's loopback.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "port": port,
        "cgroupDriver": cgroup_driver,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "failSwapOn": False,
        # A program of the node, like the kubelet: no pod, and no Service before it.
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(RESOLV_CONF),
        "volumePluginDir": "/run/volume-plugins",
        # The images cannot be had again here.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {},
        "localStorageCapacityIsolation": False,
        # A container's start takes seconds under emulation, and the CPU is better used by it.
        "runtimeRequestTimeout": "15m",
        "nodeStatusUpdateFrequency": "30s",
        # How often a pod's ConfigMaps are brought up to date; who waits for one here pays for idle time.
        "syncFrequency": "10s",
        "nodeStatusReportFrequency": "5m",
        "enableControllerAttachDetach": True,
        "registerNode": True,
    }


def dns(kubeconfig: Path, context: str) -> str:
    """Return the Corefile of cluster DNS: the cluster's own names, and nothing of the world's."""
    return f"""\
.:53 {{
    errors
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig} {context}
    }}
    cache 5
}}
"""


def proxy(kubeconfig: Path) -> Tree:
    """Return a KubeProxyConfiguration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": NODE,
        "clusterCIDR": POD_RANGE,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "conntrack": {"maxPerCore": 0},
        "metricsBindAddress": "127.0.0.1:10249",
    }
