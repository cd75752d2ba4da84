"""What the EBS CSI driver and the load balancers' controller do for a cluster, on the stand-in's account."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import httpx

from local_cluster.kube import Kube, Object
from tests.engine.cloud.account import Account
from tests.engine.kube import path_of, watch

DRIVER: Final = "ebs.csi.aws.com"
SELECTED: Final = "volume.kubernetes.io/selected-node"
CLEANUP: Final = "service.kubernetes.io/load-balancer-cleanup"
DELETE_S: Final = 1.0
"""From a volume's release to its deletion: detaching and deleting a disk takes its time."""
PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
log = logging.getLogger(__name__)


@dataclass
class Volumes:
    """Makes, grows and deletes volumes; gives addresses to Services of type LoadBalancer."""

    kube: Kube
    account: Account
    zone_of: Callable[[str], str]
    """A node's zone."""
    installed: Callable[[], bool] = lambda: True
    """Whether the driver is there: an add-on that goes before its volumes leaves them behind."""
    vpc: Callable[[], str] = lambda: ""
    """Id of the VPC that load balancers have network interfaces in."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _classes: dict[str, Object] = field(default_factory=dict)
    _claims: dict[str, Object] = field(default_factory=dict)

    def start(self) -> None:
        for path, on_change in (
            ("/apis/storage.k8s.io/v1/storageclasses", self._on_class),
            ("/api/v1/persistentvolumeclaims", self._on_claim),
            ("/api/v1/persistentvolumes", self._on_volume),
            ("/api/v1/services", self._on_service),
        ):
            threading.Thread(target=self._watch, args=(path, on_change), daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def retry(self) -> None:
        """Look at the claims again, the driver having come."""
        for claim in list(self._claims.values()):
            self._on_claim("MODIFIED", claim)

    def _watch(self, path: str, on_change: Callable[[str, Object], None]) -> None:
        def guarded(event: str, item: Object) -> None:
            try:
                on_change(event, item)
            except httpx.HTTPStatusError as error:
                log.debug("%s: %s", error, error.response.text)

        watch(self.kube, path, guarded, self._stop)

    def _on_class(self, event: str, item: Object) -> None:
        name = item["metadata"]["name"]
        if event == "DELETED":
            self._classes.pop(name, None)
            return
        self._classes[name] = item
        self.retry()

    def _on_claim(self, event: str, claim: Object) -> None:
        uid = claim["metadata"]["uid"]
        if event == "DELETED":
            self._claims.pop(uid, None)
            return
        self._claims[uid] = claim
        found = self._classes.get(claim["spec"].get("storageClassName") or "")
        if found is None or found["provisioner"] != DRIVER or not self.installed():
            return
        if claim["spec"].get("volumeName"):
            self._grow(claim)
        elif "deletionTimestamp" not in claim["metadata"]:
            self._provision(claim, found)

    def _provision(self, claim: Object, found: Object) -> None:
        annotations = claim["metadata"].get("annotations") or {}
        node = annotations.get(SELECTED)
        if found.get("volumeBindingMode") == "WaitForFirstConsumer" and not node:
            return
        metadata = claim["metadata"]
        name = f"pvc-{metadata['uid']}"
        if self.kube.get(f"/api/v1/persistentvolumes/{name}") is not None:
            return
        zone = self.zone_of(node) if node else f"{self.account.region}a"
        size = claim["spec"]["resources"]["requests"]["storage"]
        expression = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]}
        wanted = {
            "name": name,
            "claim": f"{metadata['namespace']}/{metadata['name']}",
            "size": size,
            "zone": zone,
            "parameters": dict(found.get("parameters") or {}),
        }
        handle = self._disk(wanted)
        volume: Object = {
            "metadata": {"name": name, "annotations": {PROVISIONED_BY: DRIVER}},
            "spec": {
                "capacity": {"storage": size},
                "accessModes": claim["spec"]["accessModes"],
                "persistentVolumeReclaimPolicy": found.get("reclaimPolicy", "Delete"),
                "storageClassName": found["metadata"]["name"],
                "volumeAttributesClassName": claim["spec"].get("volumeAttributesClassName"),
                "csi": {"driver": DRIVER, "volumeHandle": handle},
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": metadata["namespace"],
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
            },
        }
        self.kube.create("/api/v1/persistentvolumes", volume)

    def _disk(self, wanted: Object) -> str:
        """Make a disk, or return the one of that name: a driver that is asked again makes no second one.

        Source: CSI specification, CreateVolume: "This operation MUST be idempotent", by the volume's name.
        """
        with self.account.lock:
            for handle, disk in self.account.volumes.items():
                if disk.get("name") == wanted["name"]:
                    return handle
            handle = self.account.new_id("vol")
            self.account.volumes[handle] = wanted
        return handle

    def _grow(self, claim: Object) -> None:
        """Follow the claim's size and attributes class, which the API server has allowed."""
        wanted = claim["spec"]["resources"]["requests"]["storage"]
        wanted_class = claim["spec"].get("volumeAttributesClassName")
        status = claim.get("status") or {}
        current = (status.get("capacity") or {}).get("storage")
        if current is None:
            return
        path = f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}"
        volume = self.kube.get(path)
        if volume is None:
            return
        held = self.account.volumes.get(volume["spec"].get("csi", {}).get("volumeHandle", ""), {})
        if current != wanted:
            held["size"] = wanted
            self.kube.patch(path, {"spec": {"capacity": {"storage": wanted}}})
            self._claim_status(claim, {"capacity": {"storage": wanted}})
        if wanted_class and status.get("currentVolumeAttributesClassName") != wanted_class:
            given = self.kube.get(f"/apis/storage.k8s.io/v1/volumeattributesclasses/{wanted_class}")
            if given is None:
                return
            held["parameters"] = {**held.get("parameters", {}), **given.get("parameters", {})}
            self.kube.patch(path, {"spec": {"volumeAttributesClassName": wanted_class}})
            self._claim_status(claim, {"currentVolumeAttributesClassName": wanted_class})

    def _claim_status(self, claim: Object, status: Object) -> None:
        self.kube.patch(f"{path_of(claim, 'persistentvolumeclaims')}/status", {"status": status})

    def _on_volume(self, event: str, volume: Object) -> None:
        """Delete a released volume, as the driver's provisioner does.

        Source: Kubernetes, "Persistent Volumes", reclaim policy Delete: the volume's object and the disk.
        """
        handle = (volume["spec"].get("csi") or {}).get("volumeHandle")
        if event == "DELETED" or handle not in self.account.volumes or not self.installed():
            return
        deletes = volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        if volume["status"].get("phase") == "Released" and deletes:
            timer = threading.Timer(DELETE_S, self._delete, (handle, path_of(volume, "persistentvolumes")))
            timer.daemon = True
            timer.start()

    def _delete(self, handle: str, path: str) -> None:
        if self._stop.is_set() or not self.installed():
            return
        with self.account.lock:
            self.account.volumes.pop(handle, None)
        try:
            self.kube.delete(path)
        except httpx.HTTPError as error:
            log.debug("%s: %r", path, error)

    def _on_service(self, event: str, service: Object) -> None:
        """Make a load balancer, and delete it before the Service goes.

        Source: Kubernetes, "Service", finalizer service.kubernetes.io/load-balancer-cleanup.
        """
        metadata, path = service["metadata"], path_of(service, "services")
        finalizers = list(metadata.get("finalizers") or ())
        name = f"{metadata['namespace']}/{metadata['name']}"
        wanted = service["spec"].get("type") == "LoadBalancer" and "deletionTimestamp" not in metadata
        if event == "DELETED" or (not wanted and CLEANUP not in finalizers):
            return
        if wanted and CLEANUP not in finalizers:
            with self.account.lock:
                self.account.load_balancers[name] = {"service": name, "vpcId": self.vpc()}
            self.kube.patch(path, {"metadata": {"finalizers": [*finalizers, CLEANUP]}})
            address = {"hostname": f"{metadata['name']}.elb.{self.account.region}.amazonaws.com"}
            self.kube.patch(f"{path}/status", {"status": {"loadBalancer": {"ingress": [address]}}})
        elif not wanted:
            with self.account.lock:
                self.account.load_balancers.pop(name, None)
            self.kube.patch(f"{path}/status", {"status": {"loadBalancer": None}})
            kept = [finalizer for finalizer in finalizers if finalizer != CLEANUP]
            self.kube.patch(path, {"metadata": {"finalizers": kept}})
