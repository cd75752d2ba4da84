"""The resource graph of a dry run, folded to one card per component, as data and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stacks.preview.dryrun import DryRun, Registration


@dataclass(frozen=True, kw_only=True)
class Card:
    """A component with everything in it, or a resource that stands alone."""

    key: str
    title: str
    area: str
    """Which part of the platform, for its colour: network, cluster, images, ..."""
    contents: tuple[tuple[str, int], ...]
    """Type and how many of it."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Cards, and for each the cards that must exist before it."""

    cards: tuple[Card, ...]
    needs: Mapping[str, frozenset[str]]


def fold(run: DryRun) -> Graph:
    """Fold a run's resources to their outermost components."""
    by_urn = {item.urn: item for item in run.registrations}
    owner = {item.urn: _outermost(item, by_urn).urn for item in run.registrations}
    members: dict[str, list[Registration]] = {}
    needs: dict[str, set[str]] = {}
    for item in run.registrations:
        members.setdefault(owner[item.urn], []).append(item)
        wanted = {owner[urn] for urn in item.dependencies if urn in owner}
        needs.setdefault(owner[item.urn], set()).update(wanted - {owner[item.urn]})
    cards = tuple(_card(by_urn[urn], items) for urn, items in members.items())
    return Graph(cards=cards, needs=reduce_edges(needs))


def reduce_edges(needs: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """Drop every edge that a longer way already implies."""
    above: dict[str, set[str]] = {}

    def ancestors(key: str) -> set[str]:
        if key not in above:
            above[key] = set()
            for needed in needs.get(key, ()):
                above[key] |= {needed} | ancestors(needed)
        return above[key]

    return {
        key: frozenset(
            needed
            for needed in wanted
            if not any(needed in ancestors(other) for other in wanted if other != needed)
        )
        for key, wanted in ((key, set(wanted)) for key, wanted in needs.items())
    }


def as_text(run: DryRun) -> str:
    """Return the whole graph, one line per resource, children below parents, dependencies by name."""
    children: dict[str, list[Registration]] = {}
    by_urn = {item.urn: item for item in run.registrations}
    for item in run.registrations:
        children.setdefault(item.parent if item.parent in by_urn else "", []).append(item)
    lines = [f"stack {run.stack}: {len(run.registrations)} resources"]

    def walk(parent: str, depth: int) -> None:
        for item in children.get(parent, []):
            own = [by_urn[urn] for urn in item.dependencies if urn in by_urn]
            # A component in depends_on stands for all its children; one name says as much as twenty.
            heads = sorted({label(_named(entry, item, by_urn)) for entry in own} - {label(item)})
            after = f"  <- {', '.join(heads)}" if heads else ""
            lines.append(f"{'  ' * depth}{label(item)}{after}")
            walk(item.urn, depth + 1)

    walk("", 1)
    return "\n".join(lines) + "\n"


def label(item: Registration) -> str:
    """Return a resource's type and name in short: `Subnet drcio-public-0`."""
    return f"{item.type.rpartition(':')[2]} {item.name}"


def _named(entry: Registration, user: Registration, by_urn: Mapping[str, Registration]) -> Registration:
    """Return what to call a dependency: itself within the user's component, else its component."""
    head = _outermost(entry, by_urn)
    return entry if head.urn == _outermost(user, by_urn).urn else head


def _outermost(item: Registration, by_urn: Mapping[str, Registration]) -> Registration:
    while item.parent in by_urn:
        item = by_urn[item.parent]
    return item


def _card(head: Registration, members: list[Registration]) -> Card:
    counted = Counter(item.type.rpartition(":")[2] for item in members if not item.is_component)
    if head.is_component:
        title, area = f"{head.type.rpartition(':')[2]} {head.name}", head.type.split(":")[1]
    else:
        title, area, counted = label(head), "other", Counter()
    return Card(key=head.urn, title=title, area=area, contents=tuple(sorted(counted.items())))
