"""EKS: clusters, add-ons, node groups, and the component of pulumi-eks that makes a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.engine.cloud.account import ACCOUNT_ID, Account, Held, Properties, Refused
from tests.engine.cloud.network import ZONE_IDS, must_exist
from tests.engine.cloud.rules import Kind

VERSIONS = ("1.31", "1.32", "1.33", "1.34", "1.35", "1.36")
"""Source: EKS user guide, "Kubernetes version lifecycle", late 2026: standard support for the last two,
extended for the others."""

ZONES_WITHOUT_EKS = {"us-east-1": ("e",)}
"""Source: EKS user guide, "Subnet requirements": use1-az3, which is zone e of the stand-in's account."""

ADDONS = (
    "vpc-cni",
    "kube-proxy",
    "coredns",
    "eks-pod-identity-agent",
    "aws-ebs-csi-driver",
    "aws-efs-csi-driver",
    "snapshot-controller",
    "metrics-server",
    "eks-node-monitoring-agent",
    "amazon-cloudwatch-observability",
)
"""Source: EKS user guide, "AWS add-ons" and "Community add-ons"."""

NEEDS_NODES = ("coredns", "metrics-server", "aws-ebs-csi-driver")
"""Those that are Deployments: without a node they are DEGRADED, InsufficientNumberOfReplicas."""


def minor(version: object) -> int:
    return int(str(version).partition(".")[2])


def addon_version(addon: str, cluster_version: object) -> str:
    """Return the default version of an add-on for a cluster: its minor is that of the cluster."""
    return f"v1.{minor(cluster_version)}.1-eksbuild.{len(addon)}"


def cluster_named(account: Account, name: object) -> Held:
    """Source: EKS API reference: ResourceNotFoundException."""
    found = account.find("Cluster", name=name)
    if found is None:
        raise Refused(f"ResourceNotFoundException: No cluster found for name: {name}.")
    return found


def groups_of(account: Account, cluster: object) -> Iterator[Held]:
    return (held for held in account.of("NodeGroup") if held.get("clusterName") == cluster)


def addons_of(account: Account, cluster: object) -> Iterator[Held]:
    return (held for held in account.of("Addon") if held.get("clusterName") == cluster)


class Cluster(Kind):
    """Source of what replaces: Terraform registry, aws_eks_cluster, and its resource's schema."""

    token, prefix = "aws:eks/cluster:Cluster", "cluster"
    forces_new = frozenset(
        {
            "name",
            "roleArn",
            "bootstrapSelfManagedAddons",
            "encryptionConfig",
            "kubernetesNetworkConfig.serviceIpv4Cidr",
        }
    )
    computed_names = ("arn", "endpoint", "certificateAuthority", "status")

    def create(self, account: Account, held: Held) -> None:
        """Source: EKS API reference, CreateCluster: ResourceInUseException,
        UnsupportedAvailabilityZoneException; EKS user guide, "Subnet requirements": two zones or more, no
        Local Zones.
        """
        name = str(held.get("name"))
        if not re.fullmatch(r"[0-9A-Za-z][A-Za-z0-9_-]{0,99}", name):
            raise Refused(f"InvalidParameterException: The cluster name '{name}' is not valid")
        if account.find("Cluster", name=name):
            raise Refused(f"ResourceInUseException: Cluster already exists with name: {name}")
        if held.get("version") not in VERSIONS:
            raise Refused(f"InvalidParameterException: unsupported Kubernetes version {held.get('version')}")
        self._check_access(held.outputs)
        self._check_subnets(account, held.outputs["vpcConfig"]["subnetIds"])

    def created(self, account: Account, held: Held) -> None:
        self._log(account, held.outputs)
        held.outputs.update(account.listener.cluster_created(held))

    def computed(self, account: Account, held: Held) -> Properties:
        return {
            "arn": f"arn:aws:eks:{account.region}:{ACCOUNT_ID}:cluster/{held.get('name')}",
            "endpoint": "https://127.0.0.1",
            "certificateAuthority": {"data": ""},
            "status": "ACTIVE",
        }

    def update(self, account: Account, held: Held, new: Properties) -> Properties:
        """Source: EKS API reference, UpdateClusterVersion, "Unsupported Kubernetes minor version update";
        EKS user guide, "Update existing cluster to new Kubernetes version": one minor at a time, never back,
        and nodes no more than three minors behind; UpdateClusterConfig: subnets of two zones or more, of the
        same VPC.
        """
        old_version, new_version = held.get("version"), new.get("version")
        if old_version != new_version:
            if new_version not in VERSIONS or minor(new_version) != minor(old_version) + 1:
                raise Refused(
                    "InvalidParameterException: Unsupported Kubernetes minor version update from "
                    f"{old_version} to {new_version}"
                )
            for group in groups_of(account, held.get("name")):
                if minor(new_version) - minor(group.get("version")) > 3:
                    raise Refused(
                        "InvalidRequestException: Kubelet version of nodes must be updated to be within "
                        "three "
                        "minors of the control plane"
                    )
        self._check_access(new)
        self._check_subnets(account, new["vpcConfig"]["subnetIds"])
        old_vpc = {must_exist(account, it, "x").get("vpcId") for it in held.outputs["vpcConfig"]["subnetIds"]}
        new_vpc = {must_exist(account, it, "x").get("vpcId") for it in new["vpcConfig"]["subnetIds"]}
        if old_vpc != new_vpc:
            raise Refused(
                "InvalidParameterException: Provided subnets belong to a different VPC than the cluster"
            )
        self._log(account, new)
        return {}

    def delete(self, account: Account, held: Held) -> None:
        """Source: EKS API reference, DeleteCluster: ResourceInUseException, "Cluster has nodegroups
        attached".
        """
        if any(groups_of(account, held.get("name"))):
            raise Refused("ResourceInUseException: Cluster has nodegroups attached")

    def deleted(self, account: Account, held: Held) -> None:
        for addon in list(addons_of(account, held.get("name"))):
            account.held.pop(addon.id)
        account.listener.cluster_deleted(held)

    def _log(self, account: Account, properties: Properties) -> None:
        """Make the log group unless there is one.

        Source: EKS user guide, "Send control plane logs to CloudWatch Logs": the group
        /aws/eks/NAME/cluster is made on first use, and deleting the cluster does not remove it.
        """
        name = f"/aws/eks/{properties['name']}/cluster"
        if properties.get("enabledClusterLogTypes") and not account.find("LogGroup", name=name):
            account.log_groups.add(name)

    def _check_access(self, properties: Properties) -> None:
        vpc = properties["vpcConfig"]
        if not vpc.get("endpointPublicAccess", True) and not vpc.get("endpointPrivateAccess"):
            raise Refused("InvalidParameterException: Private and public endpoint access cannot be false")

    def _check_subnets(self, account: Account, subnets: list[str]) -> None:
        zones = {
            str(must_exist(account, it, "InvalidSubnetID.NotFound").get("availabilityZone")) for it in subnets
        }
        usable = {
            f"{account.region}{letter}"
            for letter in ZONE_IDS
            if letter not in ZONES_WITHOUT_EKS.get(account.region, ())
        }
        if zones - usable:
            raise Refused(
                "UnsupportedAvailabilityZoneException: Cannot create cluster because "
                f"{', '.join(sorted(zones - usable))} "
                "does not currently have sufficient capacity to support the cluster or is no Availability "
                "Zone"
            )
        if len(zones) < 2:
            raise Refused(
                "InvalidParameterException: Subnets specified must be in at least two different AZs"
            )


class Addon(Kind):
    """Source of what replaces: Terraform registry, aws_eks_addon."""

    token, prefix = "aws:eks/addon:Addon", "addon"
    forces_new = frozenset({"addonName", "clusterName"})
    computed_names = ("arn", "addonVersion")

    def create(self, account: Account, held: Held) -> None:
        """Source: EKS API reference, CreateAddon and the type AddonIssue."""
        cluster = cluster_named(account, held.get("clusterName"))
        name = str(held.get("addonName"))
        if name not in ADDONS:
            raise Refused(f"InvalidParameterException: Addon {name} specified is not supported")
        if account.find("Addon", clusterName=cluster.get("name"), addonName=name):
            raise Refused("ResourceInUseException: Addon already exists.")
        if name in NEEDS_NODES and not any(groups_of(account, cluster.get("name"))):
            raise Refused(
                f"timeout while waiting for {name} to become ACTIVE (last state: 'CREATING'): "
                "InsufficientNumberOfReplicas: the add-on is unhealthy because it has no replicas"
            )
        self._check_version(cluster, held.outputs)

    def computed(self, account: Account, held: Held) -> Properties:
        """Source: CreateAddon: without a version, the default one of the cluster's version then."""
        cluster = cluster_named(account, held.get("clusterName"))
        name = str(held.get("addonName"))
        return {
            "arn": f"arn:aws:eks:{account.region}:{ACCOUNT_ID}:addon/{cluster.get('name')}/{name}",
            "addonVersion": held.get("addonVersion") or addon_version(name, cluster.get("version")),
        }

    def update(self, account: Account, held: Held, new: Properties) -> Properties:
        self._check_version(cluster_named(account, new.get("clusterName")), new)
        return {} if new.get("addonVersion") else {"addonVersion": held.get("addonVersion")}

    def created(self, account: Account, held: Held) -> None:
        account.listener.group_changed(held)

    def deleted(self, account: Account, held: Held) -> None:
        account.listener.group_deleted(held)

    def _check_version(self, cluster: Held, properties: Properties) -> None:
        """Source: EKS API reference, DescribeAddonVersions: a version lists the cluster versions it works
        with.
        """
        wanted = properties.get("addonVersion")
        if wanted and minor(str(wanted).removeprefix("v").rpartition(".")[0][:4]) > minor(
            cluster.get("version")
        ):
            raise Refused(
                f"InvalidParameterException: Addon version {wanted} specified is not supported for the "
                "cluster's "
                f"version {cluster.get('version')}"
            )


class NodeGroup(Kind):
    """Source of what replaces: Terraform registry, aws_eks_node_group."""

    token, prefix = "aws:eks/nodeGroup:NodeGroup", "ng"
    forces_new = frozenset(
        {
            "clusterName",
            "nodeGroupName",
            "nodeGroupNamePrefix",
            "nodeRoleArn",
            "subnetIds",
            "instanceTypes",
            "capacityType",
            "amiType",
            "diskSize",
            "remoteAccess",
            "launchTemplate.id",
            "launchTemplate.name",
        }
    )
    autonamed = "nodeGroupName"
    computed_names = ("arn", "status", "releaseVersion")

    def create(self, account: Account, held: Held) -> None:
        """Source: EKS API reference, CreateNodegroup and the type Issue (NodeCreationFailure,
        Ec2SubnetInvalidConfiguration); EKS user guide, "Managed node groups".
        """
        cluster = cluster_named(account, held.get("clusterName"))
        name = str(held.get("nodeGroupName"))
        if len(name) > 63:
            raise Refused(
                f"InvalidParameterException: The nodegroup name '{name}' is longer than 63 characters"
            )
        if account.find("NodeGroup", clusterName=cluster.get("name"), nodeGroupName=name):
            raise Refused(f"ResourceInUseException: NodeGroup already exists with name {name}")
        if not account.find("Role", arn=held.get("nodeRoleArn")):
            raise Refused(f"InvalidParameterException: The role {held.get('nodeRoleArn')} does not exist")
        self._check(account, cluster, held.outputs)
        if not account.find("Addon", clusterName=cluster.get("name"), addonName="vpc-cni"):
            raise Refused(
                "NodeCreationFailure: Unhealthy nodes in the kubernetes cluster: container runtime network "
                "not ready: "
                "cni plugin not initialized"
            )
        for subnet in held.outputs["subnetIds"]:
            self._check_way_out(account, must_exist(account, subnet, "InvalidSubnetID.NotFound"))

    def computed(self, account: Account, held: Held) -> Properties:
        cluster = cluster_named(account, held.get("clusterName"))
        version = held.get("version") or cluster.get("version")
        return {
            "arn": f"arn:aws:eks:{account.region}:{ACCOUNT_ID}:nodegroup/{held.get('nodeGroupName')}",
            "status": "ACTIVE",
            # A group keeps the version that it was made with until it is told another.
            "version": version,
            "releaseVersion": f"{version}.0-20261101",
        }

    def created(self, account: Account, held: Held) -> None:
        account.listener.group_changed(held)

    def update(self, account: Account, held: Held, new: Properties) -> Properties:
        cluster = cluster_named(account, new.get("clusterName"))
        self._check(account, cluster, new)
        version = new.get("version") or held.get("version")
        if minor(version) < minor(held.get("version")):
            raise Refused(
                f"InvalidParameterException: Requested version {version} is older than the nodegroup's "
                f"{held.get('version')}"
            )
        return {"version": version, "releaseVersion": f"{version}.0-20261101"}

    def updated(self, account: Account, held: Held) -> None:
        account.listener.group_changed(held)

    def deleted(self, account: Account, held: Held) -> None:
        account.listener.group_deleted(held)

    def _check(self, account: Account, cluster: Held, properties: Properties) -> None:
        """Source: EKS API reference, CreateNodegroup, UpdateNodegroupConfig and UpdateNodegroupVersion."""
        scaling = properties["scalingConfig"]
        if not scaling["minSize"] <= scaling["desiredSize"] <= scaling["maxSize"] or scaling["maxSize"] < 1:
            raise Refused("InvalidParameterException: desired capacity must be between minimum and maximum")
        version = properties.get("version")
        if version and minor(version) > minor(cluster.get("version")):
            raise Refused(
                f"InvalidParameterException: Requested Nodegroup version {version} is greater than the "
                "cluster's "
                f"{cluster.get('version')}"
            )
        template = properties.get("launchTemplate")
        if template:
            found = account.held.get(str(template.get("id")))
            if found is None:
                raise Refused(
                    f"Ec2LaunchTemplateNotFound: The launch template {template.get('id')} does not exist"
                )
            if not 1 <= int(template.get("version") or 1) <= int(found.outputs["latestVersion"]):
                raise Refused(f"Ec2LaunchTemplateVersionMismatch: no version {template.get('version')}")
            if properties.get("diskSize"):
                raise Refused(
                    "InvalidParameterException: Disk size must be specified within the launch template"
                )

    def _check_way_out(self, account: Account, subnet: Held) -> None:
        """Source: EKS user guide, "Troubleshoot problems with Amazon EKS clusters and nodes": nodes reach the
        API endpoint through NAT or by a public address, else NodeCreationFailure.
        """
        association = account.find("RouteTableAssociation", subnetId=subnet.id)
        table = account.held.get(str(association.get("routeTableId"))) if association else None
        routes = [
            it for it in (table.get("routes") if table else None) or () if it.get("cidrBlock") == "0.0.0.0/0"
        ]
        if not routes:
            raise Refused(
                "NodeCreationFailure: Instances failed to join the kubernetes cluster: subnet "
                f"{subnet.id} has no route to the internet"
            )
        if routes[0].get("gatewayId") and not subnet.get("mapPublicIpOnLaunch"):
            raise Refused(
                f"Ec2SubnetInvalidConfiguration: One or more Amazon EC2 Subnets of [{subnet.id}] does not "
                "automatically "
                "assign public IP addresses to instances launched into it"
            )


class PodIdentityAssociation(Kind):
    """Source of what replaces: Terraform registry, aws_eks_pod_identity_association."""

    token, prefix = "aws:eks/podIdentityAssociation:PodIdentityAssociation", "a"
    forces_new = frozenset({"clusterName", "namespace", "serviceAccount"})


class AccessEntry(Kind):
    """Source of what replaces: Terraform registry, aws_eks_access_entry."""

    token, prefix = "aws:eks/accessEntry:AccessEntry", "access"
    forces_new = frozenset({"clusterName", "principalArn", "type"})


KINDS = (Cluster, Addon, NodeGroup, PodIdentityAssociation, AccessEntry)
