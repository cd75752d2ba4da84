"""The node twin's kubelet and container runtime, in one process and without images.

It takes real Pod manifests and makes what kubelet and containerd make on a cgroup v2 node with the
systemd driver: the same cgroups with the same knobs, the same life of a pod. What it leaves out, and
why: images (a container's root is the guest's own, behind a private overlay), users and capabilities
(the guest's files belong to whoever owns the machine, not to the manifest's uid), namespaces but those
of mounts (all pods are on the host's network, and see each other's processes), liveness probes and
lifecycle hooks (emulation slows programs twentyfold; a restart because of that would be an artefact).

    config       where things are on this node
    errors       what can go wrong
    quantity     Kubernetes' numbers: 250m, 1Gi
    manifest     a Pod manifest, read strictly
    qos          which quality-of-service class
    cgroups      names, knobs, and the tree itself
    environment  variables, the downward API, $(NAME)
    volumes      what a volume is on this node
    restarts     when a container runs again
    probes       is it ready
    status       what the API shows
    shim         the process that forks containers
    runtime      talks to the shim
    worker       one pod's life
    admission    what the API server checks and fills in
    kubelet      the node
"""

from .admission import admission
from .config import KubeletConfig
from .kubelet import Kubelet, running

__all__ = ["Kubelet", "KubeletConfig", "admission", "running"]
