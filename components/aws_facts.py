"""Names that AWS gives and that a program can only spell right or wrong, each with where it is written.

Their one owner: whoever needs a policy, an add-on, a service principal or a service's name takes it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

EC2_PRINCIPAL: Final = "ec2.amazonaws.com"
"""Who assumes a node's role (EKS user guide, "Amazon EKS node IAM role")."""
POD_IDENTITY_PRINCIPAL: Final = "pods.eks.amazonaws.com"
POD_IDENTITY_ACTIONS: Final = ("sts:AssumeRole", "sts:TagSession")
"""EKS user guide, "Learn how EKS Pod Identity grants Pods access to AWS services"."""

NODE_POLICIES: Final = (
    "AmazonEKSWorkerNodePolicy",
    "AmazonEC2ContainerRegistryPullOnly",
    # The CNI runs before Pod Identity does, so its permissions come with the node.
    "AmazonEKS_CNI_Policy",
)
EBS_CSI_POLICY: Final = "AmazonEBSCSIDriverPolicyV2"
"""Without `service-role/`, which its predecessor had (AWS managed policy reference)."""
EBS_CSI_SERVICE_ACCOUNT: Final = "ebs-csi-controller-sa"
"""EKS user guide, "Use Kubernetes volume storage with Amazon EBS"."""

VPC_CNI: Final = "vpc-cni"
KUBE_PROXY: Final = "kube-proxy"
COREDNS: Final = "coredns"
POD_IDENTITY_AGENT: Final = "eks-pod-identity-agent"
EBS_CSI_DRIVER: Final = "aws-ebs-csi-driver"
METRICS_SERVER: Final = "metrics-server"
"""EKS user guide, "AWS add-ons", and for the last one "Community add-ons"."""

GP3_PROVISIONER: Final = "ebs.csi.aws.com"
"""The EBS CSI driver's own name (its docs/parameters.md, as are the StorageClass's parameters)."""

EKS_VERSIONS: Final = ("1.34", "1.35", "1.36")
"""Kubernetes versions in standard support in November 2026, oldest first (EKS user guide, "Understand the
Kubernetes version lifecycle on EKS"); clusters are made with the upgrade policy STANDARD, which keeps no
other."""
EVERYWHERE: Final = "0.0.0.0/0"
"""What EKS lets reach a public API endpoint by default."""

NODE_AMI_TYPE: Final = "AL2023_x86_64_STANDARD"
ROOT_DEVICE: Final = "/dev/xvda"
"""The root volume of Amazon Linux (EC2 user guide, "Device names for volumes")."""

ZONES_WITHOUT_EKS: Final = ("use1-az3", "usw1-az2", "cac1-az3")
"""Zone ids in which EKS has no control plane (EKS user guide, "Subnet requirements")."""
NO_OPT_IN: Final = "opt-in-not-required"
"""`opt-in-status` of an availability zone; Local Zones and Wavelength Zones have others, and no EKS
control plane (EC2 API, DescribeAvailabilityZones)."""

INTERFACE_SERVICES: Final = ("ec2", "ecr.api", "ecr.dkr", "sts", "eks", "eks-auth", "logs")
"""What nodes and add-ons call; S3, where ECR keeps layers, has a free gateway endpoint instead
(EKS user guide, "Deploy private clusters with limited internet access")."""

_PARTITIONS: Final[Mapping[str, str]] = MappingProxyType({"cn-": "aws-cn", "us-gov-": "aws-us-gov"})
"""Regions' prefixes (AWS fault isolation boundaries, "Partitions"); every other region is in `aws`."""


def partition(region: str) -> str:
    """Return the second field of the region's ARNs."""
    return next((name for prefix, name in _PARTITIONS.items() if region.startswith(prefix)), "aws")


def managed_policy_arn(policy: str, region: str) -> str:
    """Return the ARN of a policy that AWS manages."""
    return f"arn:{partition(region)}:iam::aws:policy/{policy}"


def control_plane_log_group(cluster_name: str) -> str:
    """Return where EKS writes a cluster's logs (EKS user guide, "control plane logs")."""
    return f"/aws/eks/{cluster_name}/cluster"


def endpoint_service(region: str, service: str) -> str:
    """Return an AWS service's name for VPC endpoints."""
    return f"com.amazonaws.{region}.{service}"
