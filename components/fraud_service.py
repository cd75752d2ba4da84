"""The high-priority fraud-scoring service on the shared volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import pulumi
import pulumi_kubernetes as k8s

from components import kubernetes as kube
from components.kubernetes import Destination, Tree
from hp_service import manifest

APP: Final = manifest.NAME
PORT: Final = manifest.PORT
READY_WITHIN: Final = "20m"
PRIORITY_VALUE: Final = 100_000
"""Above every pod without a class, below the system's own (2000000000)."""


@dataclass(frozen=True, kw_only=True)
class FraudServiceArgs:
    """What the service is."""

    namespace: str
    image: pulumi.Input[str]
    claim: str
    replicas: int
    cpu: str
    memory: str
    priority: str
    """Value of the label drcio.io/priority."""
    suffix: str
    """Ends the names of cluster-wide objects, so that several stacks fit into one cluster."""
    load_balancer: bool
    stack: str | None
    """Whose nodes to use; None leaves the choice to the scheduler."""


class FraudService(pulumi.ComponentResource):
    """A Deployment whose pods first prepare their data on the volume, and the Service before it."""

    url: str
    """Where pods of the cluster reach it."""
    deployment: k8s.apps.v1.Deployment

    def __init__(self, name: str, args: FraudServiceArgs, where: Destination) -> None:
        super().__init__("drcio:workloads:FraudService", name, {}, where.options)
        metadata = kube.metadata_of(APP, args.namespace)
        class_name = f"drcio-high{args.suffix}"
        priority = k8s.scheduling.v1.PriorityClass(
            f"{name}-priority",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=class_name),
            value=PRIORITY_VALUE,
            description="Latency-critical services of DRC-IO: evicted after batch work, never for it.",
            opts=kube.in_cluster(self, where, replace_first=True),
        )
        self.deployment = k8s.apps.v1.Deployment(
            name,
            metadata=metadata,
            spec=kube.as_args(
                k8s.apps.v1.DeploymentSpecArgs,
                {
                    "replicas": args.replicas,
                    "selector": {"matchLabels": {"app": APP}},
                    # The new pod may share the volume, being on the same node; the node need not have
                    # room for two, and preparing the data twice at once would disturb the old one.
                    "strategy": {"type": "Recreate"},
                    "template": _template(args, class_name),
                },
            ),
            # The first pod waits for its volume, fetches the data and trains.
            opts=kube.in_cluster(self, where, priority, timeout=READY_WITHIN),
        )
        k8s.core.v1.Service(
            f"{name}-service",
            metadata=k8s.meta.v1.ObjectMetaArgs(
                name=APP,
                namespace=args.namespace,
                labels={"app": APP},
                annotations=None if args.load_balancer else kube.ONCE_ADDRESSED,
            ),
            spec=k8s.core.v1.ServiceSpecArgs(
                type="LoadBalancer" if args.load_balancer else "ClusterIP",
                selector={"app": APP},
                ports=[
                    k8s.core.v1.ServicePortArgs(name="http", port=PORT, target_port="http", protocol="TCP")
                ],
            ),
            # A load balancer's address is waited for, and with it, by the provider, the pods.
            opts=kube.in_cluster(self, where, timeout=READY_WITHIN if args.load_balancer else None),
        )
        kube.network_policy(self, name, APP, args.namespace, where, **kube.serves_only(PORT))
        self.url = f"http://{APP}.{args.namespace}.svc:{PORT}"
        self.register_outputs({"url": self.url})


def _template(args: FraudServiceArgs, class_name: str) -> Tree:
    # A memory limit, so that a leak hits the service itself; no CPU limit, which would throttle the
    # very requests that are measured.
    resources = {
        "requests": {"cpu": args.cpu, "memory": args.memory},
        "limits": {"memory": args.memory},
    }
    options = manifest.PodOptions(
        image="",
        claim_name=args.claim,
        resources=resources,
        labels={"drcio.io/priority": args.priority},
    )
    bare = kube.with_image(manifest.pod_template(options), args.image)
    placed = kube.sharing_volume(bare, args.claim, leads=True)
    spec = {**cast(Tree, placed["spec"]), "priorityClassName": class_name}
    return kube.on_stack_node({**placed, "spec": spec}, args.stack)
