"""The stand-ins for AWS and Docker refuse what the real ones refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.cloud.account import Account, Held, Refused
from tests.engine.cloud.identity import RolePolicyAttachment
from tests.engine.cloud.invokes import answer
from tests.engine.cloud.kubernetes import Cluster
from tests.engine.cloud.network import RouteTableAssociation, Subnet, Vpc
from tests.engine.cloud.provider import KINDS
from tests.engine.cloud.registry import Image, Repository, context_digest
from tests.engine.cloud.rules import changed_paths, replacing


def held(account: Account, token: str, **properties: object) -> Held:
    """Put a resource into the account, as its kind would have made it."""
    kind = KINDS[token]
    made = Held(account.new_id(kind.prefix), token, f"urn:x::p::{token}::it", properties, dict(properties))
    kind.create(account, made)
    made.outputs.update(kind.computed(account, made))
    account.held[made.id] = made
    return made


def test_a_subnet_has_one_route_table() -> None:
    account = Account()
    vpc = held(account, Vpc.token, cidrBlock="10.0.0.0/16")
    subnet = held(account, Subnet.token, vpcId=vpc.id, cidrBlock="10.0.0.0/24", availabilityZone="us-east-1a")
    table = held(account, "aws:ec2/routeTable:RouteTable", vpcId=vpc.id)
    held(account, RouteTableAssociation.token, subnetId=subnet.id, routeTableId=table.id)
    with pytest.raises(Refused, match=r"Resource\.AlreadyAssociated"):
        held(account, RouteTableAssociation.token, subnetId=subnet.id, routeTableId=table.id)
    with pytest.raises(Refused, match=r"DependencyViolation: The vpc .* Subnet it"):
        Vpc().delete(account, vpc)


@pytest.mark.parametrize(
    ("policy", "exists"),
    [
        ("AmazonEBSCSIDriverPolicyV2", True),
        ("service-role/AmazonEBSCSIDriverPolicyV2", False),
        ("service-role/AmazonEBSCSIDriverPolicy", True),
    ],
)
def test_a_managed_policy_is_found_by_its_whole_arn(policy: str, exists: bool) -> None:
    account = Account()
    held(account, "aws:iam/role:Role", name="node")
    arn = f"arn:aws:iam::aws:policy/{policy}"
    if exists:
        held(account, RolePolicyAttachment.token, role="node", policyArn=arn)
        return
    with pytest.raises(Refused, match="NoSuchEntity"):
        held(account, RolePolicyAttachment.token, role="node", policyArn=arn)


def test_an_immutable_tag_is_pushed_once(tmp_path: Path) -> None:
    account = Account()
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    repository = held(account, Repository.token, name="drcio/hp", imageTagMutability="IMMUTABLE")
    image = Image().check(
        account,
        "hp",
        {},
        {
            "imageName": f"{repository.get('repositoryUrl')}:1",
            "build": {"context": str(tmp_path), "dockerfile": str(tmp_path / "Dockerfile")},
        },
    )
    held(account, Image.token, **image)
    with pytest.raises(Refused, match="the tag is immutable"):
        held(account, Image.token, **image)


def test_a_cluster_goes_up_one_minor_version_at_a_time() -> None:
    account = Account()
    vpc = held(account, Vpc.token, cidrBlock="10.0.0.0/16")
    subnets = [
        held(
            account,
            Subnet.token,
            vpcId=vpc.id,
            cidrBlock=f"10.0.{number}.0/24",
            availabilityZone=f"us-east-1{letter}",
        ).id
        for number, letter in enumerate("ab")
    ]
    given = {"name": "c", "version": "1.34", "vpcConfig": {"subnetIds": subnets}}
    cluster = held(account, Cluster.token, **given)
    Cluster().update(account, cluster, {**given, "version": "1.35"})
    for version in ("1.36", "1.33"):
        with pytest.raises(Refused, match=f"minor version update from 1.34 to {version}"):
            Cluster().update(account, cluster, {**given, "version": version})


def test_zones_include_a_local_zone_unless_one_filters() -> None:
    account = Account(in_local_zone=True)
    token = "aws:index/getAvailabilityZones:getAvailabilityZones"  # noqa: S105  # a function's name
    plain = {"filters": [{"name": "opt-in-status", "values": ["opt-in-not-required"]}]}
    assert "us-east-1-bos-1a" in answer(account, token, {"state": "available"})["names"]
    assert "us-east-1-bos-1a" not in answer(account, token, plain)["names"]


def test_a_build_is_sent_what_dockerignore_leaves(tmp_path: Path) -> None:
    dockerfile = tmp_path / "image" / "Dockerfile"
    for name in ("image/Dockerfile", "src/a.py", "src/__pycache__/a.pyc", "docs/page.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "image" / "Dockerfile.dockerignore").write_text("*\n!src\n**/__pycache__\n")
    before = context_digest(tmp_path, dockerfile)
    (tmp_path / "docs" / "page.md").write_text("another")
    (tmp_path / "src" / "__pycache__" / "a.pyc").write_text("another")
    assert context_digest(tmp_path, dockerfile) == before
    (tmp_path / "src" / "a.py").write_text("another")
    assert context_digest(tmp_path, dockerfile) != before


def test_what_replaces_is_told_from_what_changes_in_place() -> None:
    node_group = KINDS["aws:eks/nodeGroup:NodeGroup"]
    old = {"launchTemplate": {"id": "lt-1", "version": "1"}, "scalingConfig": {"desiredSize": 1}}
    new = {"launchTemplate": {"id": "lt-1", "version": "2"}, "scalingConfig": {"desiredSize": 2}}
    assert list(changed_paths(old, new)) == ["launchTemplate.version", "scalingConfig.desiredSize"]
    assert replacing(node_group, changed_paths(old, new)) == []
    new["launchTemplate"] = {"id": "lt-2", "version": "1"}
    assert replacing(node_group, changed_paths(old, new)) == ["launchTemplate.id"]
