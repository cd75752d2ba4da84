"""What AWS names: spelt once, and right in every partition."""

from __future__ import annotations

import re

import pytest

from components import aws_facts
from stacks.preview.dryrun import ROOT
from tests.stacks.dryruns import render

POLICIES = (*aws_facts.NODE_POLICIES, aws_facts.EBS_CSI_POLICY)


@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "cn-north-1"])
def test_policies_are_attached_in_the_regions_partition(region: str) -> None:
    expected = {"us-east-1": "aws", "us-gov-west-1": "aws-us-gov", "cn-north-1": "aws-cn"}[region]
    run = render("drcio", {"aws:region": region})
    arns = {
        str(item.inputs["policyArn"])
        for item in run.registrations
        if item.type.endswith(":RolePolicyAttachment")
    }
    assert arns == {f"arn:{expected}:iam::aws:policy/{policy}" for policy in POLICIES}


def test_ebs_driver_gets_the_policy_that_exists() -> None:
    # AWS managed policy reference: only the first version of it has the path service-role/.
    assert aws_facts.managed_policy_arn(aws_facts.EBS_CSI_POLICY, "eu-west-1") == (
        "arn:aws:iam::aws:policy/AmazonEBSCSIDriverPolicyV2"
    )


def test_arns_principals_and_service_names_are_written_in_one_place() -> None:
    literal = re.compile(r"arn:aws|\.amazonaws\.com|com\.amazonaws\.")
    # The dry run's made-up answers are no facts.
    others = {ROOT / "components" / "aws_facts.py", ROOT / "stacks" / "preview" / "dryrun.py"}
    sources = [path for folder in ("components", "stacks") for path in (ROOT / folder).rglob("*.py")]
    found = {path.name: literal.findall(path.read_text()) for path in sources if path not in others}
    assert {name: hits for name, hits in found.items() if hits} == {}
