"""A cluster: the real control plane with stand-in nodes, volumes and load balancers."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from components.volume_guard import APP as GUARD
from components.volumes_gone import SETTLE_S, given_up
from experiment_runner.manifest import APP as EXPERIMENT
from local_cluster.control_plane import ControlPlane, PlaneOptions, User
from local_cluster.kube import Kube, Object
from local_cluster.processes import PATIENCE_S
from local_cluster.programs import Programs
from lp_batch.manifest import APP as BATCH
from tests.engine.charts import Operator
from tests.engine.cloud.account import Account, Held, Properties
from tests.engine.cloud.component import TOKEN
from tests.engine.kube import BUILT_IN, is_built_in_role, label, objects, path_of
from tests.engine.nodes import End, Life, Nodes
from tests.engine.runner import Runner
from tests.engine.volumes import DRIVER, Volumes
from tests.waits import wait_until_none

DEFAULT_CLASS: Final = "standard"
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
CLEARED: Final = (
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "/api/v1/namespaces",
    "/apis/scheduling.k8s.io/v1/priorityclasses",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/storage.k8s.io/v1/volumeattributesclasses",
    "/api/v1/persistentvolumes",
)
"""Where a stack's objects begin; those of a namespace go with it."""
MUTATING_POLICIES: Final = (
    "--feature-gates=MutatingAdmissionPolicy=true",
    "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
)
"""Of the API server, off by default in 1.35: they stand for the webhooks of a mesh or a policy engine."""
MAKES_PODS: Final = (
    ("/apis/apps/v1", "deployments"),
    ("/apis/apps/v1", "replicasets"),
    ("/apis/apps/v1", "daemonsets"),
    ("/apis/apps/v1", "statefulsets"),
    ("/apis/batch/v1", "jobs"),
)


@dataclass
class Cluster:
    """What a kubeconfig leads to."""

    plane: ControlPlane
    account: Account
    has_driver: bool = True
    vpc: str = ""
    """Where its load balancers are; empty on a cluster that is not of this account."""
    lives: dict[str, list[Life]] = field(default_factory=dict)
    """What becomes of the next pods of an app, in turn; afterwards they live as usual."""
    _told_to_stop: dict[str, float] = field(default_factory=dict)
    """The volume guard's pods, by uid, to when they were told."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.nodes = Nodes(self.kube, self._life_of, self._holds)
        self.volumes = Volumes(
            self.kube, self.account, self.nodes.zone_of, lambda: self.has_driver, lambda: self.vpc
        )
        self.operator = Operator(self.kube)
        self.runner = Runner(self.kube, self.nodes.ran_since)

    @property
    def kube(self) -> Kube:
        return self.plane.kube

    def start(self) -> None:
        for part in (self.nodes, self.volumes, self.operator):
            part.start()

    def stop(self) -> None:
        for part in (self.operator, self.volumes, self.nodes, self.plane):
            part.stop()

    def furnish(self) -> None:
        """Make it a cluster that is already there: a node, the CSI driver, a default StorageClass."""
        self.has_driver = True
        self.nodes.add("node-1", zone=f"{self.account.region}a", labels={})
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        self.kube.create(
            "/apis/storage.k8s.io/v1/storageclasses",
            {
                "metadata": {"name": DEFAULT_CLASS, "annotations": default},
                "provisioner": DRIVER,
                "volumeBindingMode": "WaitForFirstConsumer",
                "allowVolumeExpansion": True,
            },
        )

    def leftovers(self) -> list[str]:
        """Return what is on the API server beside its own, the furniture and Helm's definitions.

        Helm never removes what a chart has under crds/ (Helm's documentation, "Custom Resource
        Definitions").
        """
        return sorted(
            name
            for name in objects(self.kube)
            if not name.startswith("CustomResourceDefinition ")
            and name not in (f"StorageClass /{DEFAULT_CLASS}", f"CSIDriver /{DRIVER}")
        )

    def settle(self) -> list[str]:
        """Wait until no pod is about to start or to go, which an update need not have waited for.

        Returns:
            Those that still are when the time is up.
        """
        return wait_until_none(self._moving)

    def _moving(self) -> list[str]:
        pods = [
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            for pod in self.kube.items("/api/v1/pods")
            if pod["metadata"]["namespace"] not in BUILT_IN
            and (pod["status"]["phase"] == "Pending" or "deletionTimestamp" in pod["metadata"])
        ]
        return pods + self.operator.behind() + self._rolling_out() + self._not_begun()

    def troubles(self) -> str:
        """Return what the scheduler and the controllers report of what does not run."""
        pods = [
            f"{it['metadata']['name']} on {it['spec'].get('nodeName')}: {it['status']}"
            for it in self.kube.items("/api/v1/pods")
            if it["status"].get("phase") != "Running"
        ]
        warnings = [
            f"{it['metadata']['creationTimestamp']} {it['involvedObject']['name']}: {it.get('message')}"
            for it in self.kube.items("/api/v1/events")
            if it.get("type") == "Warning"
        ]
        nodes = [f"{it['metadata']['name']}: {it['spec']}" for it in self.kube.items("/api/v1/nodes")]
        return "\n".join([*pods, *warnings[-20:], *nodes])

    def _not_begun(self) -> list[str]:
        """Return the Jobs that have had no pod so far.

        One that has had a pod may be without for minutes: each node's end doubles the wait for the next.
        """
        return [
            f"job {job['metadata']['name']}"
            for job in self.kube.items("/apis/batch/v1/jobs")
            if not job["spec"].get("suspend") and job["metadata"]["uid"] not in self.nodes.owners
        ]

    def _rolling_out(self) -> list[str]:
        """Return the StatefulSets whose controller has not brought all pods to the newest revision."""
        return [
            f"statefulset {wanted['metadata']['name']}"
            for wanted in self.kube.items("/apis/apps/v1/statefulsets")
            if wanted["status"].get("observedGeneration") != wanted["metadata"]["generation"]
            or wanted["status"].get("updateRevision") != wanted["status"].get("currentRevision")
        ]

    def clear(self, within_s: float = PATIENCE_S) -> None:
        """Remove what a failed test left, and return when it is gone."""
        self.lives.clear()
        deadline = time.monotonic() + within_s
        while self.leftovers() and time.monotonic() < deadline:
            self._end_pods()
            for path in CLEARED:
                for item in self.kube.items(path):
                    self._remove(f"{path}/{item['metadata']['name']}", item)
            for kind in ("clusterroles", "clusterrolebindings"):
                for item in self.kube.items(f"{RBAC}/{kind}"):
                    if not is_built_in_role(item["metadata"]["name"]):
                        self.kube.delete(f"{RBAC}/{kind}/{item['metadata']['name']}")
            time.sleep(0.3)

    def _end_pods(self) -> None:
        """End what makes pods, and the pods: a namespace waits for half of the longest grace it sees."""
        for group, plural in MAKES_PODS:
            for item in self.kube.items(f"{group}/{plural}"):
                if item["metadata"]["namespace"] not in BUILT_IN:
                    self.kube.delete(path_of(item, plural, group), {"propagationPolicy": "Background"})
        for pod in self.kube.items("/api/v1/pods"):
            if pod["metadata"]["namespace"] in BUILT_IN:
                continue
            if pod["metadata"].get("finalizers"):
                self.kube.patch(path_of(pod, "pods"), {"metadata": {"finalizers": None}})
            self.kube.delete(path_of(pod, "pods"), {"gracePeriodSeconds": 0})

    def _remove(self, path: str, item: Object) -> None:
        metadata = item["metadata"]
        keeps = (*BUILT_IN, DEFAULT_CLASS, DRIVER)
        if metadata["name"] in keeps or metadata["name"].startswith("system-"):
            return
        if "deletionTimestamp" not in metadata:
            self.kube.delete(path)
        elif metadata.get("finalizers"):
            self.kube.patch(path, {"metadata": {"finalizers": None}})

    def _holds(self, pod: Object) -> bool:
        """Do what the volume guard's container does on SIGTERM."""
        if label(pod, "app") != GUARD:
            return False
        told_at = self._told_to_stop.setdefault(pod["metadata"]["uid"], time.monotonic())
        settling = time.monotonic() - told_at < SETTLE_S
        return settling or bool(given_up(self.kube.items("/api/v1/persistentvolumes")))

    def _life_of(self, pod: Object) -> Life:
        app = label(pod, "app")
        with self._lock:
            told = self.lives.get(app)
            if told:
                return told.pop(0)
        if any(not self._can_pull(container["image"]) for container in pod["spec"]["containers"]):
            return Life(end=End.NO_IMAGE)
        if app == EXPERIMENT:
            return Life(end=End.SUCCEED, before_end=self.runner.publish)
        if app == BATCH:
            arguments = pod["spec"]["containers"][0].get("args", ())
            bounded = any(argument.startswith("--num-operations=") for argument in arguments)
            return Life(end=End.SUCCEED) if bounded else Life()
        return Life(end=End.SUCCEED) if _of_job(pod) else Life()

    def _can_pull(self, image: str) -> bool:
        """Return whether an image is in the registry that its name begins with.

        What ECR does not have it does not give; a bare name was never pushed, and no node has it by itself
        (Kubernetes, "Images": without a registry's host Docker Hub is meant).
        """
        host = image.partition("/")[0]
        if ".dkr.ecr." in host:
            name, _, digest = image.partition("@")
            return any(
                image_name.rpartition(":")[0] == name and found == digest
                for image_name, found in self.account.images.items()
            )
        return "." in host or ":" in host or "/" not in image


@dataclass
class Clusters:
    """Every cluster of a session: one that is already there, and one control plane for each EKS cluster.

    Control planes are kept and used again, for starting one takes seconds.
    """

    programs: Programs
    folder: Path
    account: Account
    idle: list[Cluster] = field(default_factory=list)
    by_name: dict[str, Cluster] = field(default_factory=dict)
    leaked: list[str] = field(default_factory=list)
    """What was still on an EKS cluster when it was deleted, though its program should have removed it."""
    _count: int = 0

    def __post_init__(self) -> None:
        listener = self.account.listener
        listener.cluster_created = self._created
        listener.cluster_deleted = self._deleted
        listener.group_changed = self._group_changed
        listener.group_deleted = self._group_deleted

    def take(self) -> Cluster:
        """Return a cluster that is not in use."""
        if self.idle:
            return self.idle.pop()
        self._count += 1
        # The kubeconfig that the stand-in for eks gives out has this token.
        admin = User(name="admin", groups=("system:masters",), token=TOKEN)
        options = PlaneOptions(admin=admin, api_server_flags=MUTATING_POLICIES)
        plane = ControlPlane(self.programs, self.folder / f"cluster-{self._count}", options)
        plane.start()
        cluster = Cluster(plane, self.account)
        cluster.start()
        return cluster

    def stop(self) -> None:
        for cluster in [*self.idle, *self.by_name.values()]:
            cluster.stop()

    def _created(self, held: Held) -> Properties:
        cluster = self.take()
        cluster.has_driver = False
        subnet = self.account.held[held.outputs["vpcConfig"]["subnetIds"][0]]
        cluster.vpc = str(subnet.get("vpcId"))
        self.by_name[str(held.get("name"))] = cluster
        authority = cluster.plane.authority.read_bytes()
        return {
            "endpoint": cluster.plane.address,
            "certificateAuthority": {"data": base64.b64encode(authority).decode()},
        }

    def _deleted(self, held: Held) -> None:
        cluster = self.by_name.pop(str(held.get("name")))
        self.leaked += cluster.leftovers()
        cluster.clear()
        self.idle.append(cluster)

    def _group_changed(self, held: Held) -> None:
        cluster = self.by_name.get(str(held.get("clusterName")))
        if cluster is None:
            return
        if held.type.endswith(":Addon"):
            if held.get("addonName") == "aws-ebs-csi-driver":
                cluster.has_driver = True
                cluster.volumes.retry()
            return
        _Group(cluster, held, self.account).settle()

    def _group_deleted(self, held: Held) -> None:
        cluster = self.by_name.get(str(held.get("clusterName")))
        if cluster is None:
            return
        if held.type.endswith(":Addon"):
            if held.get("addonName") == "aws-ebs-csi-driver":
                cluster.has_driver = False
            return
        _Group(cluster, held, self.account).dissolve()


@dataclass
class _Group:
    """A node group's instances, made as its properties describe them."""

    cluster: Cluster
    held: Held
    account: Account

    def settle(self) -> None:
        """Add, change, replace or remove nodes.

        Source: EKS API reference, UpdateNodegroupVersion (another version of Kubernetes or of the launch
        template replaces the nodes, new ones first) and UpdateNodegroupConfig (labels, taints and sizes
        in place).
        """
        template = self.held.get("launchTemplate") or {}
        made_of = f"{self.held.get('version')}/{template.get('version')}"
        mine = self._mine()
        outdated = [name for name, it in mine.items() if label(it, "bench/made-of") != _label_value(made_of)]
        for name in set(mine) - set(outdated):
            self.cluster.nodes.change(name, labels=self._labels(made_of), taints=self._taints())
        wanted = int(self.held.outputs["scalingConfig"]["desiredSize"])
        kept = len(mine) - len(outdated)
        for _ in range(wanted - kept):
            self._add(made_of)
        current = [name for name in mine if name not in outdated]
        for name in [*outdated, *current[: max(0, kept - wanted)]]:
            self.cluster.nodes.remove(name)

    def dissolve(self) -> None:
        for name in self._mine():
            self.cluster.nodes.remove(name)

    def _mine(self) -> dict[str, Object]:
        group = str(self.held.get("nodeGroupName"))
        return {
            it["metadata"]["name"]: it
            for it in self.cluster.kube.items("/api/v1/nodes")
            if label(it, "eks.amazonaws.com/nodegroup") == group
        }

    def _add(self, made_of: str) -> None:
        """Put a node into the zone that had the fewest of the group's so far, as EC2 Auto Scaling balances.

        A group over several zones thus brings its next node up in another one.
        """
        subnets = [self.account.held[subnet] for subnet in self.held.outputs["subnetIds"]]
        count = int(self.held.outputs.setdefault("__instances", 0))
        self.held.outputs["__instances"] = count + 1
        zone = str(subnets[count % len(subnets)].get("availabilityZone"))
        name = self.account.new_id("i")
        self.cluster.nodes.add(name, zone=zone, labels=self._labels(made_of), taints=self._taints())

    def _labels(self, made_of: str) -> Mapping[str, str]:
        return {
            **(self.held.get("labels") or {}),
            "eks.amazonaws.com/nodegroup": str(self.held.get("nodeGroupName")),
            "bench/made-of": _label_value(made_of),
        }

    def _taints(self) -> list[Object]:
        effects = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute"}
        return [
            {
                "key": it["key"],
                "value": it.get("value", ""),
                "effect": effects.get(it["effect"], "PreferNoSchedule"),
            }
            for it in self.held.get("taints") or ()
        ]


def _of_job(pod: Object) -> bool:
    return any(owner["kind"] == "Job" for owner in pod["metadata"].get("ownerReferences", ()))


def _label_value(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "_", text)
