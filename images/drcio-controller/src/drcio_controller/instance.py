"""What an EC2 instance can do with all of its EBS volumes together, by its type.

A volume's own limits are half of the story: a t3.xlarge sustains 86.9 MB/s over all volumes, less than one
plain gp3 has. The figures are those of the Amazon EC2 User Guide, "Amazon EBS-optimized instances": the
baseline, and the maximum that smaller sizes can hold for 30 minutes at least once in 24 hours. Bandwidth is
stated in Mbps (decimal) at 128 KiB I/O, IOPS at 16 KiB I/O. A type that is not in the table is named in the
configuration with its figures (`aws ec2 describe-instance-types`, EbsInfo.EbsOptimizedInfo).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

TYPE_LABEL: Final = "node.kubernetes.io/instance-type"
"""Set by the cloud's node controller (Kubernetes: well-known labels)."""

_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,30}\.[a-z0-9-]{1,20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceLimit:
    """All EBS volumes of an instance together."""

    type: str
    baseline_bytes_per_s: float
    baseline_iops: float
    burst_bytes_per_s: float
    """For a while; equal to the baseline where the instance does not burst."""
    burst_iops: float


def limit_of(instance_type: str) -> InstanceLimit | None:
    """Return an instance type's limit, or None for one that the table does not have."""
    row = _TABLE.get(instance_type)
    if row is None:
        return None
    baseline_mbps, baseline_iops, burst_mbps, burst_iops = row
    return InstanceLimit(
        type=instance_type,
        baseline_bytes_per_s=baseline_mbps * 1e6 / 8,
        baseline_iops=baseline_iops,
        burst_bytes_per_s=burst_mbps * 1e6 / 8,
        burst_iops=burst_iops,
    )


def valid_type(text: str) -> bool:
    """Return whether a text has the form of an instance type: it comes from a node's label."""
    return _TYPE.fullmatch(text) is not None


_Row = tuple[float, float, float, float]


def _steady(sizes: Mapping[str, tuple[float, float]]) -> dict[str, _Row]:
    return {size: (mbps, iops, mbps, iops) for size, (mbps, iops) in sizes.items()}


def _bursting(burst: tuple[float, float], sizes: Mapping[str, tuple[float, float]]) -> dict[str, _Row]:
    return {size: (mbps, iops, *burst) for size, (mbps, iops) in sizes.items()}


_INTEL_5: Final = _steady(
    {
        "4xlarge": (4750, 18_750),
        "8xlarge": (6800, 30_000),
        "12xlarge": (9500, 40_000),
        "16xlarge": (13_600, 60_000),
        "24xlarge": (19_000, 80_000),
        "metal": (19_000, 80_000),
    }
) | _bursting((4750, 18_750), {"large": (650, 3600), "xlarge": (1150, 6000), "2xlarge": (2300, 12_000)})

_AMD_5: Final = _steady(
    {
        "4xlarge": (2880, 16_000),
        "8xlarge": (4750, 20_000),
        "12xlarge": (6780, 30_000),
        "16xlarge": (9500, 40_000),
        "24xlarge": (13_570, 60_000),
    }
) | _bursting((2880, 16_000), {"large": (650, 3600), "xlarge": (1085, 6000), "2xlarge": (1580, 8333)})

_GRAVITON_2: Final = _steady(
    {
        "4xlarge": (4750, 20_000),
        "8xlarge": (9500, 40_000),
        "12xlarge": (14_250, 50_000),
        "16xlarge": (19_000, 80_000),
        "metal": (19_000, 80_000),
    }
) | _bursting(
    (4750, 20_000),
    {"medium": (315, 2500), "large": (630, 3600), "xlarge": (1188, 6000), "2xlarge": (2375, 12_000)},
)

_COMPUTE_5: Final = _steady(
    {
        "4xlarge": (4750, 20_000),
        "9xlarge": (9500, 40_000),
        "12xlarge": (9500, 40_000),
        "18xlarge": (19_000, 80_000),
        "24xlarge": (19_000, 80_000),
        "metal": (19_000, 80_000),
    }
) | _bursting((4750, 20_000), {"large": (650, 4000), "xlarge": (1150, 6000), "2xlarge": (2300, 10_000)})

_COMPUTE_5A: Final = _steady(
    {
        "8xlarge": (3170, 13_300),
        "12xlarge": (4750, 20_000),
        "16xlarge": (6300, 26_700),
        "24xlarge": (9500, 40_000),
    }
) | _bursting(
    (3170, 13_300),
    {"large": (200, 800), "xlarge": (400, 1600), "2xlarge": (800, 3200), "4xlarge": (1580, 6600)},
)

_INTEL_6: Final = _steady(
    {
        "8xlarge": (10_000, 40_000),
        "12xlarge": (15_000, 60_000),
        "16xlarge": (20_000, 80_000),
        "24xlarge": (30_000, 120_000),
        "32xlarge": (40_000, 160_000),
    }
) | _bursting(
    (10_000, 40_000),
    {"large": (650, 3600), "xlarge": (1250, 6000), "2xlarge": (2500, 12_000), "4xlarge": (5000, 20_000)},
)

_T_SMALL: Final = ("nano", "micro", "small", "medium")


def _burstable(
    small: tuple[float, float], large: tuple[float, float], mbps: Mapping[str, float]
) -> dict[str, _Row]:
    """Return the T family: its IOPS double with the size up to large."""
    iops = {"nano": 250, "micro": 500, "small": 1000, "medium": 2000}
    return {
        size: (baseline, iops.get(size, 4000), *(small if size in _T_SMALL else large))
        for size, baseline in mbps.items()
    }


_FAMILIES: Final[Mapping[str, Mapping[str, _Row]]] = {
    **dict.fromkeys(("m5", "m5d", "m5n", "m5dn", "r5", "r5d", "r5n", "r5dn"), _INTEL_5),
    **dict.fromkeys(("m5a", "m5ad", "r5a", "r5ad"), _AMD_5),
    **dict.fromkeys(("m6g", "m6gd", "c6g", "c6gd", "r6g", "r6gd"), _GRAVITON_2),
    **dict.fromkeys(("c5", "c5d"), _COMPUTE_5),
    **dict.fromkeys(("c5a", "c5ad"), _COMPUTE_5A),
    "m6i": _INTEL_6,
    "g4dn": _steady(
        {
            "4xlarge": (4750, 20_000),
            "8xlarge": (9500, 40_000),
            "12xlarge": (9500, 40_000),
            "16xlarge": (9500, 40_000),
            "metal": (19_000, 80_000),
        }
    )
    | _bursting((3500, 20_000), {"xlarge": (950, 3000), "2xlarge": (1150, 6000)}),
    "i3en": _steady(
        {
            "6xlarge": (4750, 20_000),
            "12xlarge": (9500, 40_000),
            "24xlarge": (19_000, 80_000),
            "metal": (19_000, 80_000),
        }
    )
    | _bursting(
        (4750, 20_000),
        {"large": (577, 3000), "xlarge": (1154, 6000), "2xlarge": (2307, 12_000), "3xlarge": (3800, 15_000)},
    ),
    "t3": _burstable(
        (2085, 11_800),
        (2780, 15_700),
        {"nano": 43, "micro": 87, "small": 174, "medium": 347, "large": 695, "xlarge": 695, "2xlarge": 695},
    ),
    "t3a": _burstable(
        (2085, 11_800),
        (2780, 15_700),
        {"nano": 45, "micro": 90, "small": 175, "medium": 350, "large": 695, "xlarge": 695, "2xlarge": 695},
    ),
    "t4g": _burstable(
        (2606, 11_800),
        (3475, 15_700),
        {"nano": 32, "micro": 64, "small": 128, "medium": 256, "large": 512, "xlarge": 1024, "2xlarge": 2048},
    ),
}

_TABLE: Final[Mapping[str, _Row]] = {
    f"{family}.{size}": row for family, sizes in _FAMILIES.items() for size, row in sizes.items()
}
