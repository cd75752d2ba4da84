"""Names that are made of a stack's name, which may hold more than Kubernetes and EKS allow."""

from __future__ import annotations

import hashlib
import re
from typing import Final

LONGEST: Final = 40
"""A node group is named SLUG-nodes-nodes and eight more characters, of the 63 that EKS allows."""
_HASH_DIGITS: Final = 6


def slug(name: str) -> str:
    """Return a stack's name as a DNS label, itself where it is one and short.

    Otherwise with a hash, so that `My_Stack` and `my-stack` stay two.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if plain == name and len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{plain[: LONGEST - _HASH_DIGITS - 1].rstrip('-') or 'stack'}-{digest}"


def zone_index(stack: str) -> int:
    """Return which of a platform's zones a stack's nodes are in: always the same one.

    All of them in one, because a volume is of one zone: a node that is replaced must come back where the
    volume is. One of the first two, which every platform has, so that a zone more moves nobody.
    """
    return hashlib.sha256(stack.encode()).digest()[0] % 2
