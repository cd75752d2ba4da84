"""What a cluster has from the start: the throttled volume behind the StorageClass, rights for its DNS."""

from __future__ import annotations

from typing import Final

from experiment_runner.manifest import APP as EXPERIMENT
from local_cluster.kube import Kube, Object
from local_cluster.node.settings import NODE, VOLUME_PATH

CLASS: Final = "local"
VOLUME: Final = "shared"
_STORAGE: Final = "/apis/storage.k8s.io/v1/storageclasses"
_VOLUMES: Final = "/api/v1/persistentvolumes"


def storage_class() -> Object:
    """Return the default StorageClass: it makes no volume, and binds the one that there is."""
    return {
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Retain",
    }


def volume(size_bytes: int) -> Object:
    """Return the node's throttled volume as a `local` PersistentVolume."""
    hostname = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    return {
        "metadata": {"name": VOLUME},
        "spec": {
            "capacity": {"storage": str(size_bytes)},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": CLASS,
            "local": {"path": str(VOLUME_PATH)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}},
        },
    }


def dns_reader(user: str) -> list[tuple[str, Object]]:
    """Return the rights of cluster DNS, each with the path to create it at."""
    rules = [
        {"apiGroups": [""], "resources": ["namespaces", "services", "pods"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    named: Object = {"metadata": {"name": "cluster-dns"}}
    group = "rbac.authorization.k8s.io"
    binding = {
        **named,
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-dns"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }
    return [
        (f"/apis/{group}/v1/clusterroles", {**named, "rules": rules}),
        (f"/apis/{group}/v1/clusterrolebindings", binding),
    ]


def create(kube: Kube, volume_bytes: int, dns_user: str) -> None:
    """Create all of them."""
    kube.create(_STORAGE, storage_class())
    kube.create(_VOLUMES, volume(volume_bytes))
    for path, item in dns_reader(dns_user):
        kube.create(path, item)


def free_volume(kube: Kube) -> None:
    """Let the volume be claimed again where its claim is gone; what lies on it stays, as on a node's disk."""
    found = kube.get(f"{_VOLUMES}/{VOLUME}")
    if found and found["status"].get("phase") == "Released":
        kube.patch(f"{_VOLUMES}/{VOLUME}", {"spec": {"claimRef": None}})


def measures(kube: Kube) -> bool:
    """Say whether an experiment runs on the node."""
    query = f"labelSelector=app%3D{EXPERIMENT}&fieldSelector=status.phase%3DRunning"
    return bool(kube.items(f"/api/v1/pods?{query}"))


def pod_names(kube: Kube) -> dict[str, str]:
    """Return the name of every pod that there is, by its uid."""
    return {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in kube.items("/api/v1/pods")}


def reach_node(kube: Kube) -> None:
    """Say where the host reaches the node, and that it is initialised: what a cloud's controller does."""
    path = f"/api/v1/nodes/{NODE}"
    found = kube.get(path)
    if found is None:
        return
    addresses = found["status"].get("addresses", [])
    if not any(it["type"] == "ExternalIP" for it in addresses):
        kube.patch(
            f"{path}/status",
            {"status": {"addresses": [*addresses, {"type": "ExternalIP", "address": "127.0.0.1"}]}},
        )
    taints = found["spec"].get("taints", [])
    kept = [it for it in taints if it["key"] != "node.cloudprovider.kubernetes.io/uninitialized"]
    if kept != taints:
        kube.patch(path, {"spec": {"taints": kept}})
