"""How a kind of resource is declared: what replaces it, what it computes, what it refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from tests.engine.cloud.account import ACCOUNT_ID, Account, Held, Properties, Refused


class Kind:
    """One type of resource. Subclasses state their service's rules; each method's docstring names the
    source.
    """

    token: ClassVar[str]
    """As the program registers it, such as `aws:ec2/vpc:Vpc`."""
    prefix: ClassVar[str] = "res"
    """Begins its ids."""
    forces_new: ClassVar[frozenset[str]] = frozenset()
    """Properties whose change makes a new one, as paths without list indices."""
    ignored: ClassVar[frozenset[str]] = frozenset()
    """Properties whose change is no difference."""
    autonamed: ClassVar[str | None] = None
    """The property that gets a name of the provider's choice where the program gives none."""
    computed_names: ClassVar[tuple[str, ...]] = ("arn",)
    """Outputs that are unknown before it is there."""

    def check(self, account: Account, urn_name: str, old: Properties, new: Properties) -> Properties:
        """Return the inputs as the provider completes them: the name it chose is kept for ever."""
        if self.autonamed is None or self.autonamed in new:
            return new
        random = hashlib.sha256(f"{urn_name}{account.new_id('')}".encode()).hexdigest()[:7]
        return {**new, self.autonamed: old.get(self.autonamed) or f"{urn_name}-{random}"}

    def computed(self, account: Account, held: Held) -> Properties:
        """Return what the service adds to a new resource."""
        return {"arn": f"arn:aws:{self.prefix}:{account.region}:{ACCOUNT_ID}:{held.name}"}

    def create(self, account: Account, held: Held) -> None:
        """Refuse a new one, or let it be."""

    def created(self, account: Account, held: Held) -> None:
        """Do what the service does once it is there."""

    def update(self, account: Account, held: Held, new: Properties) -> Properties:
        """Refuse a change in place, or return what the service changes with it."""
        return {}

    def updated(self, account: Account, held: Held) -> None:
        """Do what the service does after a change."""

    def delete(self, account: Account, held: Held) -> None:
        """Refuse to delete it, or let it go."""

    def deleted(self, account: Account, held: Held) -> None:
        """Do what the service does once it is gone."""


def changed_paths(old: Any, new: Any, path: str = "") -> Iterable[str]:
    """Yield the paths at which two values differ, without list indices: `vpcConfig.subnetIds`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(set(old) | set(new)):
            if not name.startswith("__"):
                yield from changed_paths(old.get(name), new.get(name), f"{path}.{name}" if path else name)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            yield from changed_paths(one, other, path)
    elif old != new:
        yield path


def replacing(kind: Kind, paths: Iterable[str]) -> list[str]:
    """Return those of the changed paths that make a new resource."""
    return [
        path
        for path in paths
        if any(path == force or path.startswith(f"{force}.") for force in kind.forces_new)
    ]


def refuse_if_used(what: str, users: Iterable[Held]) -> None:
    """Refuse as EC2 does.

    Source: EC2 API reference, "Error codes": DependencyViolation, "The specified object has dependent
    resources".
    """
    names = [f"{user.type.rpartition(':')[2]} {user.name}" for user in users]
    if names:
        raise Refused(
            f"DependencyViolation: {what} has dependencies and cannot be deleted: {', '.join(names)}"
        )
