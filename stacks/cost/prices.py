"""The one price table: AWS on-demand list prices in USD, us-east-1, as of 2026-11-24.

Sources: the public price pages of EKS, EC2, EBS, VPC, ELB, KMS, ECR and CloudWatch. A bill differs by
region, discounts and traffic; this is an estimate, and says so wherever it is shown.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

AS_OF: Final = "2026-11-24"
REGION: Final = "us-east-1"
HOURS_PER_MONTH: Final = 730

EKS_CONTROL_PLANE_H: Final = 0.10
"""Standard support; extended support is 0.60."""
NAT_GATEWAY_H: Final = 0.045
PUBLIC_IPV4_H: Final = 0.005
INTERFACE_ENDPOINT_H: Final = 0.01
"""Per endpoint and zone."""
LOAD_BALANCER_H: Final = 0.025

GP3_GIB_MONTH: Final = 0.08
GP3_IOPS_MONTH: Final = 0.005
"""Above the 3000 that are included."""
GP3_MIB_S_MONTH: Final = 0.04
"""Above the 125 that are included."""
KMS_KEY_MONTH: Final = 1.00
ECR_GIB_MONTH: Final = 0.10

INSTANCE_H: Final[Mapping[str, float]] = MappingProxyType(
    {
        "t3.large": 0.0832,
        "t3.xlarge": 0.1664,
        "t3.2xlarge": 0.3328,
        "m5.large": 0.096,
        "m5.xlarge": 0.192,
        "m5.2xlarge": 0.384,
        "m6i.large": 0.096,
        "m6i.xlarge": 0.192,
        "m6i.2xlarge": 0.384,
        "m7i.xlarge": 0.2016,
        "m7i.2xlarge": 0.4032,
        "c6i.xlarge": 0.17,
        "r6i.xlarge": 0.252,
    }
)

SPOT_SHARE: Final = 0.35
"""Of the on-demand price; spot prices move, this is what a general-purpose xlarge usually costs."""
IMAGES_GIB: Final = 3.0
"""All four images, a few tags each: the service's with PyTorch is most of it."""


def unknown(instance_types: Iterable[str]) -> tuple[str, ...]:
    """Return those of some instance types that the table does not have."""
    return tuple(it for it in instance_types if it not in INSTANCE_H)
