"""The EKS cluster: control plane, its key, the nodes' role, the nodes, and the add-ons in their order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws
import pulumi_eks as eks
import pulumi_kubernetes as k8s

from components import aws_facts
from components.kubernetes import cluster_provider
from components.node_group import NodeGroup, NodeGroupArgs

LOG_RETENTION_DAYS: Final = 30


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """What the cluster is."""

    name: str
    region: str
    version: str
    vpc_id: pulumi.Input[str]
    control_plane_subnet_ids: Sequence[pulumi.Input[str]]
    node_subnet_ids: Sequence[pulumi.Input[str]]
    addon_versions: Mapping[str, str]
    """Add-ons that keep a version; others get the default one of the cluster's version."""
    nodes_after: Sequence[pulumi.Resource]
    """What must stand before the first node boots: the network's routes."""
    public_access: bool
    public_access_cidrs: Sequence[str]
    log_types: Sequence[str]
    instance_types: Sequence[str]
    nodes: int
    spot: bool
    disk_gib: int
    stack: str


class Cluster(pulumi.ComponentResource):
    """An EKS cluster that is ready for workloads once `ready` is."""

    name: str
    kubeconfig: pulumi.Output[str]
    node_role_arn: pulumi.Output[str]
    provider: k8s.Provider
    ready: list[pulumi.Resource]
    """What workloads wait for: nodes, and the add-ons without which a pod gets no address, name or volume."""

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("drcio:cluster:Cluster", name, {}, opts)
        self._args = args
        self._eks = self._control_plane(name)
        role, role_policies = self._role(f"{name}-node", aws_facts.EC2_PRINCIPAL, aws_facts.NODE_POLICIES)
        network_addons = [
            # Without this option NetworkPolicy objects are accepted and ignored.
            self._addon(aws_facts.VPC_CNI, {"enableNetworkPolicy": "true"}),
            self._addon(aws_facts.KUBE_PROXY),
            self._addon(aws_facts.POD_IDENTITY_AGENT),
        ]
        nodes = NodeGroup(
            name,
            NodeGroupArgs(
                after=[*args.nodes_after, *role_policies, *network_addons],
                cluster_name=args.name,
                node_role_arn=role.arn,
                subnet_ids=list(args.node_subnet_ids),
                instance_types=args.instance_types,
                nodes=args.nodes,
                spot=args.spot,
                disk_gib=args.disk_gib,
                stack=args.stack,
                dedicated=False,
                version=args.version,
            ),
            # Nodes stay NotReady without routes, rights or the CNI, and EKS then gives the group up.
            opts=self._child(),
        )
        workload_addons = [
            self._addon(aws_facts.COREDNS, after=[nodes]),
            self._addon(aws_facts.METRICS_SERVER, after=[nodes]),
            self._ebs_csi_driver(name, nodes),
        ]
        self.name = args.name
        self.kubeconfig = pulumi.Output.secret(self._eks.kubeconfig_json)
        self.node_role_arn = role.arn
        self.ready = [nodes, *workload_addons]
        self.provider = cluster_provider(f"{name}-kubernetes", kubeconfig=self.kubeconfig, opts=self._child())
        self.register_outputs({"name": self.name, "kubeconfig": self.kubeconfig})

    def _control_plane(self, name: str) -> eks.Cluster:
        args = self._args
        key = aws.kms.Key(
            f"{name}-secrets",
            description=f"Kubernetes secrets of {args.name}",
            enable_key_rotation=True,
            deletion_window_in_days=7,
            opts=self._child(),
        )
        # EKS would make the group itself, without an end to what it keeps, and leave it behind.
        logs = aws.cloudwatch.LogGroup(
            f"{name}-logs",
            name=aws_facts.control_plane_log_group(args.name),
            retention_in_days=LOG_RETENTION_DAYS,
            opts=self._child(),
        )
        return eks.Cluster(
            f"{name}-eks",
            # A name of our own: the component's children are unknown to a dry run.
            name=args.name,
            version=args.version,
            vpc_id=args.vpc_id,
            subnet_ids=list(args.control_plane_subnet_ids),
            authentication_mode=eks.AuthenticationMode.API,
            # EXTENDED, the default, silently moves to six times the price when a version grows old.
            upgrade_policy=aws.eks.ClusterUpgradePolicyArgs(support_type="STANDARD"),
            endpoint_private_access=True,
            endpoint_public_access=args.public_access,
            public_access_cidrs=list(args.public_access_cidrs) if args.public_access else None,
            enabled_cluster_log_types=list(args.log_types),
            encryption_config_key_arn=key.arn,
            skip_default_node_group=True,
            # Managed nodes use the security group that EKS makes for the cluster.
            skip_default_security_groups=True,
            # The add-ons are declared below, each once, with their order.
            bootstrap_self_managed_addons=False,
            use_default_vpc_cni=True,
            kube_proxy_addon_options=eks.KubeProxyAddonOptionsArgs(enabled=False),
            coredns_addon_options=eks.CoreDnsAddonOptionsArgs(enabled=False),
            opts=self._child(logs),
        )

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    def _role(
        self, name: str, service: str, policies: Sequence[str], actions: Sequence[str] = ("sts:AssumeRole",)
    ) -> tuple[aws.iam.Role, list[pulumi.Resource]]:
        """Return a role for a service, and the attachments that give it its policies."""
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": service}, "Action": list(actions)},
            ],
        }
        role = aws.iam.Role(name, assume_role_policy=json.dumps(trust), opts=self._child())
        attachments: list[pulumi.Resource] = [
            aws.iam.RolePolicyAttachment(
                f"{name}-{policy}",
                role=role.name,
                policy_arn=aws_facts.managed_policy_arn(policy, self._args.region),
                opts=self._child(),
            )
            for policy in policies
        ]
        return role, attachments

    def _addon(
        self,
        addon: str,
        configuration: Mapping[str, str] | None = None,
        *,
        after: Sequence[pulumi.Resource] = (),
        identity: aws.eks.AddonPodIdentityAssociationArgs | None = None,
    ) -> aws.eks.Addon:
        kept = self._args.addon_versions.get(addon)
        default = aws.eks.get_addon_version_output(
            addon_name=addon,
            kubernetes_version=self._args.version,
            opts=pulumi.InvokeOutputOptions(parent=self),
        ).version
        return aws.eks.Addon(
            addon,
            addon_name=addon,
            addon_version=kept or default,
            cluster_name=self._args.name,
            configuration_values=json.dumps(configuration) if configuration else None,
            pod_identity_associations=[identity] if identity else None,
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE",
            # The cluster is named by a plain text, which carries no dependency of its own.
            opts=self._child(self._eks, *after),
        )

    def _ebs_csi_driver(self, name: str, nodes: NodeGroup) -> aws.eks.Addon:
        role, policies = self._role(
            f"{name}-ebs-csi",
            aws_facts.POD_IDENTITY_PRINCIPAL,
            [aws_facts.EBS_CSI_POLICY],
            aws_facts.POD_IDENTITY_ACTIONS,
        )
        identity = aws.eks.AddonPodIdentityAssociationArgs(
            service_account=aws_facts.EBS_CSI_SERVICE_ACCOUNT, role_arn=role.arn
        )
        return self._addon(aws_facts.EBS_CSI_DRIVER, after=[nodes, *policies], identity=identity)
