"""What a stack may be and had better not be: the user is warned of it, and nothing is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components.aws_facts import EVERYWHERE
from stacks.configuration.settings import EKS, Settings


def warnings_of(settings: Settings, unpriced: Sequence[str]) -> Iterator[str]:
    """Yield each warning, its hint on a line of its own; pure.

    `unpriced` are the parts of the estimated cost that have no known price.
    """
    cluster = settings.cluster
    own_cluster = settings.platform == EKS and not settings.platform_stack
    if own_cluster and cluster.public_access and EVERYWHERE in cluster.public_access_cidrs:
        yield (
            f"drcio:cluster.publicAccessCidrs holds {EVERYWHERE}, as it does on EKS where nobody says "
            "otherwise: the whole internet reaches the API server, which asks for authentication\n"
            "hint: pulumi config set --path 'drcio:cluster.publicAccessCidrs' YOUR-ADDRESS/32"
        )
    if unpriced:
        yield (
            f"no price is known of {', '.join(unpriced)}: the estimated cost is unknown\n"
            "hint: is the instance type one that AWS has? Prices are kept in stacks/cost/prices.py"
        )
