"""Where the workloads go: a cluster of our own, another stack's, or one that is already there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import cast

import pulumi

from components.cluster import Cluster, ClusterArgs
from components.kubernetes import Destination, cluster_provider
from components.network import Network, NetworkArgs
from components.node_group import NodeGroup, NodeGroupArgs
from components.sharing import PlatformUser
from stacks.configuration.names import zone_index
from stacks.configuration.settings import EXISTING, Settings
from stacks.guards.deployed import Deployed


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A cluster, and what a stack needs to know of it."""

    where: Destination
    cluster_name: pulumi.Input[str]
    kubeconfig: pulumi.Output[str] | None
    node_stack: str | None
    """Whose nodes the workloads go to; None leaves the choice to the scheduler."""
    shared_images: pulumi.Output[Mapping[str, str]] | None = None
    """The platform stack's images, where there is such a stack."""
    owned: bool = False
    """The cluster is this stack's own, and others may use it."""
    for_sharing: Mapping[str, pulumi.Input[object]] = field(default_factory=dict)
    """Outputs by which another stack can use this platform."""


def build_platform(settings: Settings, deployed: Deployed) -> Platform:
    """Build or find the cluster that the settings ask for."""
    if settings.platform == EXISTING:
        return _existing(settings)
    if settings.platform_stack:
        return _shared(settings)
    return _own(settings, deployed)


def _addons_to_keep(settings: Settings, deployed: Deployed) -> Mapping[str, str]:
    """Return the add-ons' versions where the cluster's stays, so that AWS's new defaults change nothing."""
    return deployed.addons if deployed.cluster_version == settings.cluster.version else {}


def _own(settings: Settings, deployed: Deployed) -> Platform:
    network = Network(
        settings.cluster.name,
        NetworkArgs(
            cluster_name=settings.cluster.name,
            region=settings.region,
            **asdict(settings.network),
        ),
    )
    cluster = Cluster(
        settings.cluster.name,
        ClusterArgs(
            region=settings.region,
            vpc_id=network.vpc_id,
            control_plane_subnet_ids=network.control_plane_subnet_ids,
            node_subnet_ids=network.node_subnet_ids[:1],
            addon_versions=_addons_to_keep(settings, deployed),
            nodes_after=network.ready,
            stack=settings.slug,
            **asdict(settings.cluster),
        ),
    )
    return Platform(
        where=Destination(provider=cluster.provider, after=tuple(cluster.ready)),
        cluster_name=cluster.name,
        kubeconfig=cluster.kubeconfig,
        node_stack=settings.slug,
        owned=True,
        for_sharing={
            "nodeRoleArn": cluster.node_role_arn,
            "nodeSubnetIds": network.node_subnet_ids,
            "kubernetesVersion": settings.cluster.version,
        },
    )


def _shared(settings: Settings) -> Platform:
    """Bring nodes of our own into another stack's cluster, so that the two do not disturb each other."""
    other = pulumi.StackReference(settings.platform_stack)
    cluster_name = cast(pulumi.Output[str], other.require_output("clusterName"))
    kubeconfig: pulumi.Output[str] = pulumi.Output.secret(other.require_output("kubeconfig"))
    provider = cluster_provider("kubernetes", kubeconfig=kubeconfig)
    user = PlatformUser("platform-user", settings.stack, settings.suffix, Destination(provider=provider))
    subnets = cast(pulumi.Output[Sequence[str]], other.require_output("nodeSubnetIds"))
    nodes = NodeGroup(
        f"{settings.slug}-nodes",
        NodeGroupArgs(
            cluster_name=cluster_name,
            node_role_arn=cast(pulumi.Output[str], other.require_output("nodeRoleArn")),
            subnet_ids=subnets.apply(lambda ids: [ids[zone_index(settings.stack)]]),
            instance_types=settings.cluster.instance_types,
            nodes=settings.cluster.nodes,
            spot=settings.cluster.spot,
            disk_gib=settings.cluster.disk_gib,
            after=[user],
            stack=settings.slug,
            dedicated=True,
            # Nodes follow the control plane, which the platform's stack upgrades.
            version=cast(pulumi.Output[str | None], other.get_output("kubernetesVersion")),
        ),
    )
    return Platform(
        where=Destination(provider=provider, after=(user, nodes)),
        cluster_name=cluster_name,
        kubeconfig=kubeconfig,
        node_stack=settings.slug,
        shared_images=cast(pulumi.Output[Mapping[str, str]], other.require_output("images")),
    )


def _existing(settings: Settings) -> Platform:
    if not settings.kube_context and settings.context:
        pulumi.log.info(
            f"drcio:kubeContext is empty: this stack is deployed into the current context {settings.context}"
        )
    # By name, so that the state keeps it: another current context is then a change, and is refused.
    provider = cluster_provider("kubernetes", context=settings.context or None)
    return Platform(
        where=Destination(provider=provider),
        cluster_name=settings.context or "current context",
        kubeconfig=None,
        node_stack=None,
    )
