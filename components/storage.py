"""The volume that the two workloads share, and the StorageClass that gives it its speed."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from components import aws_facts
from components.errors import ArgumentError
from components.kubernetes import SKIP_AWAIT, Destination, in_cluster


@dataclass(frozen=True, kw_only=True)
class StorageArgs:
    """What the volume is."""

    namespace: pulumi.Input[str]
    claim: str
    size_gib: int
    iops: int
    throughput_mib_s: int
    make_class: str | None
    """Name of a gp3 StorageClass to make; None uses `use_class`."""
    use_class: str = ""
    """Name of an existing StorageClass; empty is the cluster's default one."""

    def __post_init__(self) -> None:
        if self.make_class is not None and self.use_class:
            raise ArgumentError(
                f"StorageArgs.make_class is {self.make_class!r} and use_class {self.use_class!r}; "
                "expected only one of them"
            )


class Storage(pulumi.ComponentResource):
    """One ReadWriteOnce claim: all its users run on one node."""

    claim_name: str
    classes: tuple[pulumi.Resource, ...] = ()
    """The StorageClass, where one is made: what others that use it wait for, and not for the claim."""

    def __init__(self, name: str, args: StorageArgs, where: Destination) -> None:
        super().__init__("drcio:storage:Storage", name, {}, where.options)
        if args.make_class is not None:
            made = k8s.storage.v1.StorageClass(
                f"{name}-class",
                metadata=k8s.meta.v1.ObjectMetaArgs(name=args.make_class),
                provisioner=aws_facts.GP3_PROVISIONER,
                parameters={
                    "type": "gp3",
                    "iops": str(args.iops),
                    "throughput": str(args.throughput_mib_s),
                    "encrypted": "true",
                    "csi.storage.k8s.io/fstype": "ext4",
                },
                # The volume is made in the zone of the node that the pod was given.
                volume_binding_mode="WaitForFirstConsumer",
                reclaim_policy="Delete",
                allow_volume_expansion=True,
                # A StorageClass's parameters cannot change, and its name is fixed.
                opts=in_cluster(self, where, replace_first=True),
            )
            self.classes = (made,)
        k8s.core.v1.PersistentVolumeClaim(
            f"{name}-claim",
            metadata=k8s.meta.v1.ObjectMetaArgs(
                name=args.claim,
                namespace=args.namespace,
                # It binds when its first pod is scheduled, which comes after it in the graph.
                annotations=SKIP_AWAIT,
            ),
            spec=k8s.core.v1.PersistentVolumeClaimSpecArgs(
                access_modes=["ReadWriteOnce"],
                storage_class_name=args.make_class or args.use_class or None,
                resources=k8s.core.v1.VolumeResourceRequirementsArgs(
                    requests={"storage": f"{args.size_gib}Gi"}
                ),
            ),
            opts=in_cluster(self, where, *self.classes, replace_first=True),
        )
        self.claim_name = args.claim
        self.register_outputs({"claim_name": self.claim_name})
