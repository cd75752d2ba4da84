"""EC2's network: what a VPC is made of, and what holds what."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from tests.engine.cloud.account import Account, Held, Properties, Refused
from tests.engine.cloud.rules import Kind, refuse_if_used

LOCAL_ZONE = "bos-1a"
"""A Local Zone that the account opted into: it is listed with the others unless one filters."""
ZONE_LETTERS = "abcdef"
ZONE_IDS = {"a": "az1", "b": "az2", "c": "az4", "d": "az6", "e": "az3", "f": "az5"}


def zones(region: str, *, with_local: bool) -> list[tuple[str, str]]:
    """Return name and id of each zone, as DescribeAvailabilityZones lists them.

    Source: EC2 API reference, DescribeAvailabilityZones: "Describes the Availability Zones, Local Zones,
    and Wavelength Zones that are available to you"; filter opt-in-status is opt-in-not-required for an
    Availability Zone and opted-in for a Local Zone in use.
    """
    short = "use1" if region == "us-east-1" else region.replace("-", "")
    found = [(f"{region}{letter}", f"{short}-{ZONE_IDS[letter]}") for letter in ZONE_LETTERS]
    # Sorted by name, as the service answers: the Local Zone's name sorts before `us-east-1a`.
    return sorted([*found, (f"{region}-{LOCAL_ZONE}", f"{short}-bos1-az1")] if with_local else found)


def in_vpc(account: Account, vpc: str, *kinds: str) -> Iterator[Held]:
    for kind in kinds:
        for held in account.of(kind):
            if held.get("vpcId") == vpc:
                yield held


def must_exist(account: Account, identifier: object, code: str) -> Held:
    """Return a resource by id, or refuse as EC2 does.

    Source: EC2 API reference, "Error codes", InvalidSubnetID.NotFound and its like.
    """
    found = account.held.get(str(identifier))
    if found is None:
        raise Refused(f"{code}: The ID '{identifier}' does not exist")
    return found


def interfaces_in(account: Account, subnet: str) -> Iterator[Held]:
    """Yield what has a network interface in a subnet: NAT gateways, endpoints, clusters, nodes."""
    for held in account.of("NatGateway"):
        if held.get("subnetId") == subnet:
            yield held
    for held in account.of("VpcEndpoint"):
        if subnet in (held.get("subnetIds") or ()):
            yield held
    for held in account.of("Cluster"):
        if subnet in held.outputs["vpcConfig"]["subnetIds"]:
            yield held
    for held in account.of("NodeGroup"):
        if subnet in held.outputs["subnetIds"]:
            yield held


class Vpc(Kind):
    """Source of what replaces: Terraform registry, aws_vpc, cidr_block ("Forces new resource" in its
    schema).
    """

    token, prefix = "aws:ec2/vpc:Vpc", "vpc"
    forces_new = frozenset({"cidrBlock", "ipv4IpamPoolId"})
    computed_names = ("arn", "defaultSecurityGroupId", "mainRouteTableId")

    def delete(self, account: Account, held: Held) -> None:
        """Source: VPC user guide, "Delete your VPC": terminate all that is in it first."""
        kinds = ("Subnet", "InternetGateway", "SecurityGroup", "RouteTable", "VpcEndpoint")
        refuse_if_used(f"The vpc '{held.id}'", in_vpc(account, held.id, *kinds))
        balancers = [name for name, it in account.load_balancers.items() if it.get("vpcId") == held.id]
        if balancers:
            raise Refused(
                f"DependencyViolation: The vpc '{held.id}' has dependencies and cannot be deleted: "
                f"network interfaces of load balancer {', '.join(balancers)}"
            )


class DefaultSecurityGroup(Kind):
    """Adopted, and left in place on delete (Terraform registry, aws_default_security_group)."""

    token, prefix = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", "sg"
    forces_new = frozenset({"vpcId"})


class Subnet(Kind):
    """Source of what replaces: Terraform registry, aws_subnet."""

    token, prefix = "aws:ec2/subnet:Subnet", "subnet"
    forces_new = frozenset({"vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId"})

    def create(self, account: Account, held: Held) -> None:
        """Source: EC2 API reference, CreateSubnet and "Error codes": InvalidSubnet.Range,
        InvalidSubnet.Conflict.
        """
        vpc = must_exist(account, held.get("vpcId"), "InvalidVpcID.NotFound")
        own = ipaddress.IPv4Network(held.outputs["cidrBlock"])
        if not own.subnet_of(ipaddress.IPv4Network(vpc.outputs["cidrBlock"])):
            raise Refused(f"InvalidSubnet.Range: The CIDR '{own}' is invalid.")
        for other in in_vpc(account, vpc.id, "Subnet"):
            if own.overlaps(ipaddress.IPv4Network(other.outputs["cidrBlock"])):
                raise Refused(f"InvalidSubnet.Conflict: The CIDR '{own}' conflicts with another subnet")
        known = {name for name, _ in zones(account.region, with_local=True)}
        if held.get("availabilityZone") not in known:
            raise Refused(
                f"InvalidParameterValue: Value ({held.get('availabilityZone')}) for parameter "
                "availabilityZone is "
                f"invalid. Subnets can currently only be created in the following availability zones: "
                f"{', '.join(sorted(known))}."
            )

    def delete(self, account: Account, held: Held) -> None:
        """Source: VPC user guide, "Delete a subnet": "you must terminate any instances in the subnet
        first".
        """
        refuse_if_used(f"The subnet '{held.id}'", interfaces_in(account, held.id))


class RouteTable(Kind):
    """Source of what replaces: Terraform registry, aws_route_table."""

    token, prefix = "aws:ec2/routeTable:RouteTable", "rtb"
    forces_new = frozenset({"vpcId"})

    def create(self, account: Account, held: Held) -> None:
        """Source: EC2 API reference, CreateRoute: the gateway must exist."""
        must_exist(account, held.get("vpcId"), "InvalidVpcID.NotFound")
        self._check_routes(account, held.outputs)

    def update(self, account: Account, held: Held, new: Properties) -> Properties:
        self._check_routes(account, new)
        return {}

    def delete(self, account: Account, held: Held) -> None:
        """Source: EC2 API reference, DeleteRouteTable: "You must disassociate the route table from any
        subnets".
        """
        users = [it for it in account.of("RouteTableAssociation") if it.get("routeTableId") == held.id]
        refuse_if_used(f"The routeTable '{held.id}'", users)

    def _check_routes(self, account: Account, properties: Properties) -> None:
        for route in properties.get("routes") or ():
            for name, code in (
                ("natGatewayId", "InvalidNatGatewayID.NotFound"),
                ("gatewayId", "InvalidInternetGatewayID.NotFound"),
            ):
                if route.get(name):
                    must_exist(account, route[name], code)


class RouteTableAssociation(Kind):
    """Another table is a change in place, ReplaceRouteTableAssociation (Terraform registry)."""

    token, prefix = "aws:ec2/routeTableAssociation:RouteTableAssociation", "rtbassoc"
    forces_new = frozenset({"subnetId", "gatewayId"})
    computed_names = ()

    def create(self, account: Account, held: Held) -> None:
        """A subnet has one association.

        Source: EC2 API reference, "Error codes", Resource.AlreadyAssociated: "The specified resource is
        already in use".
        """
        must_exist(account, held.get("routeTableId"), "InvalidRouteTableID.NotFound")
        subnet = held.get("subnetId")
        must_exist(account, subnet, "InvalidSubnetID.NotFound")
        if account.find("RouteTableAssociation", subnetId=subnet):
            raise Refused(
                "Resource.AlreadyAssociated: the specified association for route table "
                f"{held.get('routeTableId')} "
                f"conflicts with an existing association of subnet {subnet}"
            )

    def update(self, account: Account, held: Held, new: Properties) -> Properties:
        must_exist(account, new.get("routeTableId"), "InvalidRouteTableID.NotFound")
        return {}


class InternetGateway(Kind):
    token, prefix = "aws:ec2/internetGateway:InternetGateway", "igw"

    def create(self, account: Account, held: Held) -> None:
        """Source: EC2 API reference, AttachInternetGateway: a VPC has one."""
        if account.find("InternetGateway", vpcId=held.get("vpcId")):
            raise Refused(
                f"Resource.AlreadyAssociated: Network {held.get('vpcId')} already has an internet gateway "
                "attached"
            )

    def delete(self, account: Account, held: Held) -> None:
        """Source: EC2 API reference, DetachInternetGateway: "The VPC must not contain any running instances
        with Elastic IP addresses or public IPv4 addresses".
        """
        public = [
            subnet.id
            for subnet in in_vpc(account, str(held.get("vpcId")), "Subnet")
            if any(
                it.type.endswith((":NatGateway", ":NodeGroup")) for it in interfaces_in(account, subnet.id)
            )
            and self._has_public_addresses(account, subnet)
        ]
        if public:
            raise Refused(
                f"DependencyViolation: Network {held.get('vpcId')} has some mapped public address(es). "
                "Please unmap "
                f"those public address(es) before detaching the gateway. ({', '.join(public)})"
            )

    def _has_public_addresses(self, account: Account, subnet: Held) -> bool:
        if any(it.get("subnetId") == subnet.id for it in account.of("NatGateway")):
            return True
        return bool(subnet.get("mapPublicIpOnLaunch"))


class Eip(Kind):
    token, prefix = "aws:ec2/eip:Eip", "eipalloc"
    forces_new = frozenset({"domain"})
    computed_names = ("arn", "allocationId", "publicIp")

    def computed(self, account: Account, held: Held) -> Properties:
        return {**super().computed(account, held), "allocationId": held.id, "publicIp": "192.0.2.1"}

    def delete(self, account: Account, held: Held) -> None:
        """Source: EC2 API reference, ReleaseAddress: an address in use must be disassociated first,
        InvalidIPAddress.InUse.
        """
        if account.find("NatGateway", allocationId=held.id):
            raise Refused(f"InvalidIPAddress.InUse: Address {held.id} is in use.")


class NatGateway(Kind):
    """Source of what replaces: Terraform registry, aws_nat_gateway."""

    token, prefix = "aws:ec2/natGateway:NatGateway", "nat"
    forces_new = frozenset({"allocationId", "subnetId", "connectivityType"})

    def create(self, account: Account, held: Held) -> None:
        """Source: VPC user guide, "NAT gateways": one Elastic IP address, which no other resource has."""
        must_exist(account, held.get("subnetId"), "InvalidSubnetID.NotFound")
        must_exist(account, held.get("allocationId"), "InvalidAllocationID.NotFound")
        if account.find("NatGateway", allocationId=held.get("allocationId")):
            raise Refused(
                f"Resource.AlreadyAssociated: resource {held.get('allocationId')} is already associated"
            )


class VpcEndpoint(Kind):
    """Source of what replaces: Terraform registry, aws_vpc_endpoint."""

    token, prefix = "aws:ec2/vpcEndpoint:VpcEndpoint", "vpce"
    forces_new = frozenset({"vpcId", "serviceName", "vpcEndpointType"})

    def create(self, account: Account, held: Held) -> None:
        """Source: PrivateLink guide, "Create an interface endpoint": private DNS once per service and VPC,
        one subnet per zone; "Gateway endpoints": one route per service in a route table (RouteAlreadyExists).
        """
        must_exist(account, held.get("vpcId"), "InvalidVpcID.NotFound")
        self._check(account, held, held.outputs)

    def update(self, account: Account, held: Held, new: Properties) -> Properties:
        self._check(account, held, new)
        return {}

    def _check(self, account: Account, held: Held, new: Properties) -> None:
        service = new.get("serviceName")
        others = [
            it
            for it in in_vpc(account, str(new.get("vpcId")), "VpcEndpoint")
            if it.id != held.id and it.get("serviceName") == service
        ]
        if new.get("privateDnsEnabled") and others:
            raise Refused(
                "InvalidParameter: private-dns-enabled cannot be set because there is already a "
                "conflicting DNS "
                f"domain for {service} in the VPC {new.get('vpcId')}"
            )
        tables = set(new.get("routeTableIds") or ())
        for other in others:
            common = tables & set(other.get("routeTableIds") or ())
            if common:
                raise Refused(
                    f"RouteAlreadyExists: route table {sorted(common)[0]} already has a route with "
                    "destination-prefix-"
                    f"list-id of {service}"
                )
        used: dict[str, str] = {}
        for subnet in new.get("subnetIds") or ():
            zone = str(must_exist(account, subnet, "InvalidSubnetID.NotFound").get("availabilityZone"))
            if zone in used:
                raise Refused(f"DuplicateSubnetsInSameZone: Found another VPC endpoint subnet in {zone}")
            used[zone] = subnet


class SecurityGroup(Kind):
    """Source of what replaces: Terraform registry, aws_security_group."""

    token, prefix = "aws:ec2/securityGroup:SecurityGroup", "sg"
    forces_new = frozenset({"name", "namePrefix", "description", "vpcId"})
    autonamed = "name"

    def create(self, account: Account, held: Held) -> None:
        """Source: EC2 API reference, CreateSecurityGroup: names are unique within a VPC,
        InvalidGroup.Duplicate.
        """
        must_exist(account, held.get("vpcId"), "InvalidVpcID.NotFound")
        if account.find("SecurityGroup", vpcId=held.get("vpcId"), name=held.get("name")):
            raise Refused(f"InvalidGroup.Duplicate: The security group '{held.get('name')}' already exists")

    def delete(self, account: Account, held: Held) -> None:
        """Source: EC2 API reference, DeleteSecurityGroup: fails with DependencyViolation while it is in
        use.
        """
        users = [it for it in account.of("VpcEndpoint") if held.id in (it.get("securityGroupIds") or ())]
        refuse_if_used(f"resource {held.id}", users)


class LaunchTemplate(Kind):
    """Anything but the name is a new version of the same template (Terraform registry,
    aws_launch_template).
    """

    token, prefix = "aws:ec2/launchTemplate:LaunchTemplate", "lt"
    forces_new = frozenset({"name", "namePrefix"})
    autonamed = "name"
    computed_names = ("arn", "latestVersion", "defaultVersion")

    def create(self, account: Account, held: Held) -> None:
        """Source: EC2 API reference, InvalidLaunchTemplateName.AlreadyExistsException."""
        if account.find("LaunchTemplate", name=held.get("name")):
            raise Refused(
                "InvalidLaunchTemplateName.AlreadyExistsException: Launch template name already in use."
            )

    def computed(self, account: Account, held: Held) -> Properties:
        return {**super().computed(account, held), "latestVersion": 1, "defaultVersion": 1}

    def update(self, account: Account, held: Held, new: Properties) -> Properties:
        return {"latestVersion": int(held.outputs["latestVersion"]) + 1}

    def delete(self, account: Account, held: Held) -> None:
        """EKS's nodes need it as long as the group lives.

        Source: EKS user guide, "Customize managed nodes with launch templates": "If you delete a launch
        template that a managed node group uses, the group's status becomes DEGRADED" (issue code
        Ec2LaunchTemplateNotFound of the API's Issue type).
        """
        users = [
            it for it in account.of("NodeGroup") if (it.get("launchTemplate") or {}).get("id") == held.id
        ]
        if users:
            raise Refused(f"Ec2LaunchTemplateNotFound: node group {users[0].name} still uses {held.id}")


KINDS = (
    Vpc,
    DefaultSecurityGroup,
    Subnet,
    RouteTable,
    RouteTableAssociation,
    InternetGateway,
    Eip,
    NatGateway,
    VpcEndpoint,
    SecurityGroup,
    LaunchTemplate,
)
