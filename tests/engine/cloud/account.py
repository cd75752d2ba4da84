"""What a cloud account holds: resources by id, and what services leave behind on their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

Properties = dict[str, Any]
"""A resource's properties, plain: no secrets, in the provider's camelCase."""

ACCOUNT_ID: Final = "111122223333"


class Refused(Exception):
    """What the real service answers, by its own words."""


@dataclass
class Held:
    """One resource of the account."""

    id: str
    type: str
    urn: str
    inputs: Properties
    outputs: Properties

    @property
    def name(self) -> str:
        """Its name in the program."""
        return self.urn.rpartition("::")[2]

    def get(self, name: str) -> Any:
        return self.outputs.get(name)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that happened to the account."""

    act: str
    type: str
    name: str
    detail: str = ""


@dataclass
class Listener:
    """Whoever runs what the account only declares: the bench's clusters and nodes."""

    cluster_created: Callable[[Held], Properties] = lambda held: {}
    cluster_deleted: Callable[[Held], None] = lambda held: None
    group_changed: Callable[[Held], None] = lambda held: None
    group_deleted: Callable[[Held], None] = lambda held: None


@dataclass
class Account:
    """The account, for all stacks of a session. Every public method may be called from any thread."""

    region: str = "us-east-1"
    in_local_zone: bool = False
    """Whether the account opted into a Local Zone, which is then listed among the others."""
    held: dict[str, Held] = field(default_factory=dict)
    journal: list[Entry] = field(default_factory=list)
    images: dict[str, str] = field(default_factory=dict)
    """Digest by NAME:TAG, of every registry."""
    log_groups: set[str] = field(default_factory=set)
    """Names; EKS makes its own where nobody else did, and never removes it."""
    volumes: dict[str, Properties] = field(default_factory=dict)
    """EBS volumes that the CSI driver made, by id."""
    load_balancers: dict[str, Properties] = field(default_factory=dict)
    """Those that Services of type LoadBalancer made, by id."""
    listener: Listener = field(default_factory=Listener)
    lock: threading.RLock = field(default_factory=threading.RLock)
    _count: int = 0

    def new_id(self, prefix: str) -> str:
        """Return an id that was never given before."""
        with self.lock:
            self._count += 1
            return f"{prefix}-{self._count:08x}"

    def of(self, kind: str) -> Iterator[Held]:
        """Yield the resources of a type, given by its last part such as `Subnet`."""
        with self.lock:
            found = [held for held in self.held.values() if held.type.rpartition(":")[2] == kind]
        yield from found

    def find(self, kind: str, **wanted: object) -> Held | None:
        """Return a resource of a type that has these outputs; None where there is none."""
        for held in self.of(kind):
            if all(held.outputs.get(name) == value for name, value in wanted.items()):
                return held
        return None

    def note(self, act: str, kind: str, name: str, detail: str = "") -> None:
        with self.lock:
            self.journal.append(Entry(act=act, type=kind, name=name, detail=detail))

    def leftovers(self) -> list[str]:
        """Return what costs money or stands in the way of the next stack, by kind and name."""
        with self.lock:
            return sorted(
                [
                    *(f"{held.type.rpartition(':')[2]} {held.name}" for held in self.held.values()),
                    *(f"log group {name}" for name in self.log_groups),
                    *(f"EBS volume {name}" for name in self.volumes),
                    *(f"load balancer {name}" for name in self.load_balancers),
                ]
            )

    def forget_everything(self) -> None:
        """Empty the account, as a failed test's clean-up."""
        with self.lock:
            for store in (self.held, self.images, self.volumes, self.load_balancers):
                store.clear()
            self.log_groups.clear()
            self.journal.clear()
