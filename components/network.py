"""The VPC: subnets over several zones, the way out, and the endpoints that keep traffic inside."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, Literal

import pulumi
import pulumi_aws as aws

from components import aws_facts
from components.errors import ArgumentError

NatLayout = Literal["single", "per-az", "none"]

SUBNETS_PER_KIND: Final = 8
"""The range is cut into sixteen: the first eight for public subnets, the last eight for private ones."""


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """What a network is made of."""

    cidr: str
    availability_zones: int
    nat: NatLayout
    interface_endpoints: bool
    cluster_name: str
    """Subnets carry this cluster's tag, by which load balancers find them."""
    region: str

    def __post_init__(self) -> None:
        prefix = ipaddress.IPv4Network(self.cidr).prefixlen
        if not 16 <= prefix <= 20:
            raise ArgumentError(f"NetworkArgs.cidr is {self.cidr!r}; expected a prefix from /16 to /20")
        if not 2 <= self.availability_zones <= SUBNETS_PER_KIND:
            raise ArgumentError(
                f"NetworkArgs.availability_zones is {self.availability_zones}; "
                f"expected 2 to {SUBNETS_PER_KIND}"
            )


def subnet_cidrs(cidr: str, zones: int) -> tuple[list[str], list[str]]:
    """Return the public and the private subnets' ranges; a zone keeps its ranges when zones are added."""
    parts = [str(part) for part in ipaddress.IPv4Network(cidr).subnets(prefixlen_diff=4)]
    return parts[:zones], parts[SUBNETS_PER_KIND : SUBNETS_PER_KIND + zones]


class Network(pulumi.ComponentResource):
    """A VPC whose nodes are private behind NAT, or public without it."""

    vpc_id: pulumi.Output[str]
    node_subnet_ids: list[pulumi.Output[str]]
    """Where nodes go, by zone: the private subnets, or the public ones without NAT."""
    control_plane_subnet_ids: list[pulumi.Output[str]]
    """Public ones of the first two zones, whatever else there is, so that neither another way out nor
    another zone touches the control plane. Its interfaces have no public addresses."""
    ready: list[pulumi.Resource]
    """What a node waits for: without its routes it cannot reach the cluster, and EKS gives it up."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("drcio:network:Network", name, {}, opts)
        self._name, self._args = name, args
        self.ready = []
        zones = aws.get_availability_zones_output(
            state="available",
            exclude_zone_ids=list(aws_facts.ZONES_WITHOUT_EKS),
            # Otherwise Local Zones that the account opted into are listed beside the region's own.
            filters=[aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=[aws_facts.NO_OPT_IN])],
            opts=pulumi.InvokeOutputOptions(parent=self),
        )
        self._zone_names = zones.names
        self._vpc = aws.ec2.Vpc(
            f"{name}-vpc",
            cidr_block=args.cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags={"Name": name},
            opts=self._child(),
        )
        # Whatever forgets to name a security group gets one that lets nothing through.
        aws.ec2.DefaultSecurityGroup(f"{name}-default", vpc_id=self._vpc.id, opts=self._child())
        public_cidrs, private_cidrs = subnet_cidrs(args.cidr, args.availability_zones)
        public = self._subnets("public", public_cidrs)
        private = self._subnets("private", private_cidrs) if args.nat != "none" else []
        tables = [self._public_routes(public), *self._private_routes(public, private)]
        self._endpoints(tables, private or public)

        self.vpc_id = self._vpc.id
        self.node_subnet_ids = [subnet.id for subnet in private or public]
        self.control_plane_subnet_ids = [subnet.id for subnet in public[:2]]
        self.register_outputs({"vpc_id": self.vpc_id, "node_subnet_ids": self.node_subnet_ids})

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    def _subnets(self, kind: Literal["public", "private"], cidrs: list[str]) -> list[aws.ec2.Subnet]:
        role = "kubernetes.io/role/elb" if kind == "public" else "kubernetes.io/role/internal-elb"
        return [
            aws.ec2.Subnet(
                f"{self._name}-{kind}-{index}",
                vpc_id=self._vpc.id,
                cidr_block=cidr,
                availability_zone=self._zone_names[index],
                # Nodes in a public subnet reach the internet by their own address, there being no NAT.
                map_public_ip_on_launch=kind == "public" and self._args.nat == "none",
                tags={
                    "Name": f"{self._name}-{kind}-{index}",
                    role: "1",
                    f"kubernetes.io/cluster/{self._args.cluster_name}": "shared",
                },
                # A subnet stays where it is, though a zone be added to the region or missing for a day.
                opts=pulumi.ResourceOptions.merge(
                    self._child(), pulumi.ResourceOptions(ignore_changes=["availabilityZone"])
                ),
            )
            for index, cidr in enumerate(cidrs)
        ]

    def _route_table(
        self, name: str, subnets: dict[str, aws.ec2.Subnet], route: aws.ec2.RouteTableRouteArgs
    ) -> aws.ec2.RouteTable:
        """Make a table and give it to subnets, by their names.

        An association is named by its subnet, which has only one: another table is then an update in
        place, where a new association beside the old would be refused (Resource.AlreadyAssociated).
        """
        table = aws.ec2.RouteTable(
            f"{self._name}-{name}",
            vpc_id=self._vpc.id,
            routes=[route],
            tags={"Name": f"{self._name}-{name}"},
            opts=self._child(),
        )
        self.ready += [
            aws.ec2.RouteTableAssociation(
                f"{self._name}-{subnet_name}",
                route_table_id=table.id,
                subnet_id=subnet.id,
                opts=self._child(),
            )
            for subnet_name, subnet in subnets.items()
        ]
        return table

    def _public_routes(self, public: list[aws.ec2.Subnet]) -> aws.ec2.RouteTable:
        self._gateway = aws.ec2.InternetGateway(f"{self._name}-igw", vpc_id=self._vpc.id, opts=self._child())
        route = aws.ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", gateway_id=self._gateway.id)
        return self._route_table("public", _by_name("public", public), route)

    def _private_routes(
        self, public: list[aws.ec2.Subnet], private: list[aws.ec2.Subnet]
    ) -> list[aws.ec2.RouteTable]:
        """Give each zone its own NAT gateway, or all of them one."""
        if not private:
            return []
        by_name = _by_name("private", private)
        groups = [{name: by_name[name]} for name in by_name] if self._args.nat == "per-az" else [by_name]
        tables = []
        for index, group in enumerate(groups):
            address = aws.ec2.Eip(f"{self._name}-nat-{index}", domain="vpc", opts=self._child(self._gateway))
            gateway = aws.ec2.NatGateway(
                f"{self._name}-nat-{index}",
                allocation_id=address.id,
                subnet_id=public[index].id,
                opts=self._child(self._gateway),
            )
            route = aws.ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", nat_gateway_id=gateway.id)
            tables.append(self._route_table(f"private-{index}", group, route))
        return tables

    def _endpoints(self, tables: list[aws.ec2.RouteTable], subnets: list[aws.ec2.Subnet]) -> None:
        aws.ec2.VpcEndpoint(
            f"{self._name}-s3",
            vpc_id=self._vpc.id,
            service_name=aws_facts.endpoint_service(self._args.region, "s3"),
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in tables],
            opts=self._child(),
        )
        if not self._args.interface_endpoints:
            return
        group = aws.ec2.SecurityGroup(
            f"{self._name}-endpoints",
            description="HTTPS from the VPC to its interface endpoints",
            vpc_id=self._vpc.id,
            ingress=[
                aws.ec2.SecurityGroupIngressArgs(
                    description="HTTPS from the VPC",
                    protocol="tcp",
                    from_port=443,
                    to_port=443,
                    cidr_blocks=[self._args.cidr],
                )
            ],
            opts=self._child(),
        )
        for service in aws_facts.INTERFACE_SERVICES:
            aws.ec2.VpcEndpoint(
                f"{self._name}-{service}",
                vpc_id=self._vpc.id,
                service_name=aws_facts.endpoint_service(self._args.region, service),
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=[subnet.id for subnet in subnets],
                security_group_ids=[group.id],
                opts=self._child(),
            )


def _by_name(kind: str, subnets: list[aws.ec2.Subnet]) -> dict[str, aws.ec2.Subnet]:
    return {f"{kind}-{index}": subnet for index, subnet in enumerate(subnets)}
