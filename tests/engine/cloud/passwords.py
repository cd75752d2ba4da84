"""The random provider."""

from __future__ import annotations

import secrets

from tests.engine.cloud.account import Account, Held, Properties
from tests.engine.cloud.rules import Kind


class RandomPassword(Kind):
    """Source of what replaces: Terraform registry, random_password: every argument."""

    token, prefix = "random:index/randomPassword:RandomPassword", "none"
    forces_new = frozenset(
        {
            "length",
            "special",
            "keepers",
            "lower",
            "upper",
            "numeric",
            "minLower",
            "minUpper",
            "overrideSpecial",
        }
    )
    computed_names = ("result", "bcryptHash")

    def computed(self, account: Account, held: Held) -> Properties:
        return {"result": secrets.token_hex(32)[: int(held.outputs["length"])], "bcryptHash": "$2a$10$x"}


KINDS = (RandomPassword,)
