"""What an AWS account has, or does not have, on which a stack's first update would fail half-way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import pulumi
import pulumi_aws as aws

from stacks.configuration.settings import EKS, Settings
from stacks.errors import ConfigError
from stacks.guards.deployed import Deployed


def refuse_taken_or_missing(settings: Settings, deployed: Deployed, unpriced: Iterable[str]) -> None:
    """Ask AWS about the cluster's name and about instance types that are not in our table.

    `unpriced` are the instance types without a known price; the others are known to exist.

    Raises:
        ConfigError: another cluster has the name, or the region has no such instance type.
    """
    if settings.platform != EKS:
        return
    where = f"region {settings.region} of this AWS account"
    name = settings.cluster.name
    if deployed.cluster_name is None and not settings.platform_stack and name in _asked(_clusters):
        raise ConfigError(
            f"drcio:cluster.name is {name}, and {where} has an EKS cluster of this name that is not this "
            "stack's; expected a name of its own",
            hint="pulumi config set --path 'drcio:cluster.name' NAME; or, to share a cluster that a stack of "
            "this program has made: pulumi config set drcio:platformStack ORGANIZATION/PROJECT/STACK",
        )
    for kind in unpriced:
        offered = _asked(partial(_offered, kind), otherwise=[kind])
        if kind not in offered:
            raise ConfigError(
                f"drcio:cluster.instanceTypes names {kind}, which {where} does not offer; "
                "expected instance types that it has",
                hint="pulumi config set --path 'drcio:cluster.instanceTypes' TYPE; "
                "aws ec2 describe-instance-type-offerings lists them",
            )


def _clusters() -> Sequence[str]:
    return aws.eks.get_clusters().names


def _offered(kind: str) -> Sequence[str]:
    wanted = aws.ec2.GetInstanceTypeOfferingsFilterArgs(name="instance-type", values=[kind])
    return aws.ec2.get_instance_type_offerings(filters=[wanted], location_type="region").instance_types


def _asked(ask: Callable[[], Sequence[str]], otherwise: Sequence[str] = ()) -> Sequence[str]:
    """Return AWS's answer; where it gives none, such as for want of a permission, what stands for it."""
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - the SDK has no class of its own for a refused invoke
        pulumi.log.warn(f"what the AWS account has could not be looked at: {error}")
        return otherwise
