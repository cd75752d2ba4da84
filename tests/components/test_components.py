"""What components decide by themselves: address ranges, placement, and what they refuse."""

from __future__ import annotations

import ipaddress
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.aws_facts import INTERFACE_SERVICES
from components.errors import ArgumentError
from components.kubernetes import on_stack_node, sharing_volume, with_image
from components.network import NetworkArgs, subnet_cidrs
from components.node_group import NodeGroupArgs
from components.storage import StorageArgs
from tests.stacks.dryruns import render

POD = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {
        "initContainers": [{"name": "a", "image": ""}],
        "containers": [{"name": "b", "image": ""}],
        "tolerations": [{"operator": "Exists"}],
    },
}


@given(st.integers(16, 20), st.integers(2, 8))
def test_subnets_lie_in_the_network_and_do_not_overlap(prefix: int, zones: int) -> None:
    cidr = f"10.0.0.0/{prefix}"
    public, private = subnet_cidrs(cidr, zones)
    networks = [ipaddress.IPv4Network(text) for text in public + private]
    assert len(networks) == 2 * zones
    assert all(network.subnet_of(ipaddress.IPv4Network(cidr)) for network in networks)
    assert not any(one.overlaps(other) for one in networks for other in networks if one is not other)


@given(st.integers(2, 7))
def test_adding_a_zone_moves_no_subnet(zones: int) -> None:
    before, after = subnet_cidrs("10.0.0.0/16", zones), subnet_cidrs("10.0.0.0/16", zones + 1)
    assert [more[:zones] for more in after] == [*before]


def test_interface_endpoints_are_made_when_asked_for() -> None:
    run = render("drcio", {"drcio:network.interfaceEndpoints": "true"})
    names = [item.name for item in run.registrations if item.type.endswith(":VpcEndpoint")]
    assert len(names) == 1 + len(INTERFACE_SERVICES)


def test_every_container_gets_the_image() -> None:
    spec = cast("dict[str, Any]", with_image(POD, "i@sha256:0")["spec"])
    assert [item["image"] for kind in ("initContainers", "containers") for item in spec[kind]] == [
        "i@sha256:0",
        "i@sha256:0",
    ]


def test_stack_node_keeps_the_tolerations_that_are_there() -> None:
    spec = cast("dict[str, Any]", on_stack_node(POD, "dev")["spec"])
    assert spec["tolerations"][0] == {"operator": "Exists"}
    assert spec["nodeSelector"] == {"drcio.io/stack": "dev"}
    assert on_stack_node(POD, None) == POD


def test_sharing_a_volume_leaves_the_original_alone() -> None:
    placed = cast("dict[str, Any]", sharing_volume(POD, "claim"))
    assert placed["metadata"]["labels"] == {"app": "x", "drcio.io/volume": "claim"}
    assert POD["metadata"] == {"labels": {"app": "x"}}


def network(**changes: Any) -> NetworkArgs:
    values: dict[str, Any] = {
        "cidr": "10.0.0.0/16",
        "availability_zones": 2,
        "nat": "single",
        "interface_endpoints": False,
        "cluster_name": "c",
        "region": "r",
    }
    return NetworkArgs(**{**values, **changes})


def test_wrong_arguments_are_refused_with_what_was_expected() -> None:
    with pytest.raises(ArgumentError, match=r"NetworkArgs.cidr is '10.0.0.0/24'; expected a prefix from /16"):
        network(cidr="10.0.0.0/24")
    with pytest.raises(ArgumentError, match=r"availability_zones is 1; expected 2 to 8"):
        network(availability_zones=1)
    with pytest.raises(ArgumentError, match=r"NodeGroupArgs.nodes is 0; expected 1 or more"):
        NodeGroupArgs(
            cluster_name="c",
            node_role_arn="r",
            subnet_ids=[],
            instance_types=["m6i.xlarge"],
            nodes=0,
            spot=False,
            disk_gib=20,
            after=[],
            stack="s",
            dedicated=False,
            version="1.35",
        )
    with pytest.raises(ArgumentError, match="expected only one of them"):
        StorageArgs(
            namespace="n",
            claim="c",
            size_gib=1,
            iops=3000,
            throughput_mib_s=125,
            make_class="a",
            use_class="b",
        )
