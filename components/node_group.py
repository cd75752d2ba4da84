"""Managed AL2023 nodes of one stack: its own label, its own disk and metadata settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import aws_facts
from components.errors import ArgumentError
from components.node_labels import STACK_LABEL


@dataclass(frozen=True, kw_only=True)
class NodeGroupArgs:
    """What the nodes are."""

    cluster_name: pulumi.Input[str]
    node_role_arn: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    instance_types: Sequence[str]
    nodes: int
    spot: bool
    disk_gib: int
    after: Sequence[pulumi.Resource]
    """What must stand before the first node boots, and until the last one is gone."""
    stack: str
    dedicated: bool
    """Keep every pod off that does not tolerate the stack's taint: for nodes in a shared cluster."""
    version: pulumi.Input[str | None]
    """Of Kubernetes: a group keeps the one that it was made with until it is given another."""

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise ArgumentError(f"NodeGroupArgs.nodes is {self.nodes}; expected 1 or more")


class NodeGroup(pulumi.ComponentResource):
    """A managed node group with IMDSv2 only and an encrypted gp3 root volume."""

    def __init__(self, name: str, args: NodeGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("drcio:cluster:NodeGroup", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        # No image and no user data: EKS then picks and upgrades the AMI, and a new AMI is no diff here.
        template = aws.ec2.LaunchTemplate(
            f"{name}-template",
            metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(
                http_endpoint="enabled",
                http_tokens="required",
                # One hop: a pod does not get the node's role; what needs AWS has Pod Identity.
                http_put_response_hop_limit=1,
            ),
            block_device_mappings=[
                aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
                    device_name=aws_facts.ROOT_DEVICE,
                    ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                        volume_size=args.disk_gib,
                        volume_type="gp3",
                        encrypted="true",
                        delete_on_termination="true",
                    ),
                )
            ],
            update_default_version=True,
            opts=child,
        )
        taints = [aws.eks.NodeGroupTaintArgs(key=STACK_LABEL, value=args.stack, effect="NO_SCHEDULE")]
        self.node_group = aws.eks.NodeGroup(
            f"{name}-nodes",
            cluster_name=args.cluster_name,
            version=args.version,
            node_role_arn=args.node_role_arn,
            subnet_ids=args.subnet_ids,
            ami_type=aws_facts.NODE_AMI_TYPE,
            capacity_type="SPOT" if args.spot else "ON_DEMAND",
            instance_types=list(args.instance_types),
            scaling_config=aws.eks.NodeGroupScalingConfigArgs(
                desired_size=args.nodes, min_size=args.nodes, max_size=args.nodes + 1
            ),
            update_config=aws.eks.NodeGroupUpdateConfigArgs(max_unavailable=1),
            launch_template=aws.eks.NodeGroupLaunchTemplateArgs(
                id=template.id, version=template.latest_version.apply(str)
            ),
            labels={STACK_LABEL: args.stack},
            taints=taints if args.dedicated else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        self.register_outputs({"node_group": self.node_group.id})
