"""A layered layout of a directed acyclic graph: pure geometry, after Sugiyama.

Layers by longest path, long edges cut by invisible points so that they run between boxes and not
through them, order within a layer by the neighbours' median, positions pulled towards the neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

SWEEPS: Final = 24
"""Passes over the layers, alternately downwards and upwards; more no longer change these graphs."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """A box's extent in pixels."""

    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Box:
    """A placed box."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Boxes by key, and for each edge the points that it passes."""

    boxes: Mapping[str, Box]
    edges: Mapping[tuple[str, str], tuple[tuple[float, float], ...]]
    """From (needed, user) to points: the needed box's right side, bends, the user's left side."""
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Spacing:
    """Gaps in pixels."""

    column: float = 70.0
    row: float = 22.0
    lane: float = 12.0
    """Height kept free for a passing edge."""
    margin: float = 24.0


_Point = tuple[str, str, int]
"""A bend of edge (needed, user) in a layer."""
_Node = str | _Point


def arrange(
    sizes: Mapping[str, Size], needs: Mapping[str, frozenset[str]], spacing: Spacing | None = None
) -> Layout:
    """Place boxes in columns, each to the right of everything that it needs."""
    gaps = spacing or Spacing()
    layer_of = _layers(sizes, needs)
    layers, links = _with_bends(layer_of, needs)
    _order(layers, links)
    widths = [
        max((sizes[node].width for node in layer if isinstance(node, str)), default=0.0) for layer in layers
    ]
    lefts = [gaps.margin + sum(widths[:index]) + index * gaps.column for index in range(len(layers))]
    centers = _positions(layers, links, sizes, gaps)

    boxes = {
        key: Box(
            x=lefts[layer],
            y=centers[key] - sizes[key].height / 2,
            width=sizes[key].width,
            height=sizes[key].height,
        )
        for key, layer in layer_of.items()
    }
    edges = {}
    for user, wanted in needs.items():
        for needed in sorted(wanted):
            points = [(boxes[needed].x + boxes[needed].width, centers[needed])]
            for layer in range(layer_of[needed] + 1, layer_of[user]):
                height = centers[(needed, user, layer)]
                points += [(lefts[layer], height), (lefts[layer] + widths[layer], height)]
            points.append((boxes[user].x, centers[user]))
            edges[(needed, user)] = tuple(points)
    return Layout(
        boxes=boxes,
        edges=edges,
        width=max(box.x + box.width for box in boxes.values()) + gaps.margin,
        height=max(box.y + box.height for box in boxes.values()) + gaps.margin,
    )


def _layers(sizes: Mapping[str, Size], needs: Mapping[str, frozenset[str]]) -> dict[str, int]:
    found: dict[str, int] = {}

    def depth(key: str) -> int:
        if key not in found:
            found[key] = 1 + max((depth(needed) for needed in needs.get(key, ())), default=-1)
        return found[key]

    for key in sizes:
        depth(key)
    # What nothing waits for early on moves next to its first user: shorter edges.
    for key in sorted(found, key=found.__getitem__, reverse=True):
        users = [found[user] for user, wanted in needs.items() if key in wanted]
        if users and not needs.get(key):
            found[key] = min(users) - 1
    return found


def _with_bends(
    layer_of: Mapping[str, int], needs: Mapping[str, frozenset[str]]
) -> tuple[list[list[_Node]], dict[_Node, set[_Node]]]:
    """Return layers with a point wherever an edge passes, and who is linked to whom, both ways."""
    layers: list[list[_Node]] = [[] for _ in range(max(layer_of.values()) + 1)]
    for key, layer in layer_of.items():
        layers[layer].append(key)
    links: dict[_Node, set[_Node]] = {key: set() for key in layer_of}
    for user, wanted in needs.items():
        for needed in sorted(wanted):
            previous: _Node = needed
            for layer in range(layer_of[needed] + 1, layer_of[user]):
                bend = (needed, user, layer)
                layers[layer].append(bend)
                links[bend] = set()
                _link(links, previous, bend)
                previous = bend
            _link(links, previous, user)
    return layers, links


def _link(links: dict[_Node, set[_Node]], one: _Node, other: _Node) -> None:
    links[one].add(other)
    links[other].add(one)


def _order(layers: list[list[_Node]], links: Mapping[_Node, set[_Node]]) -> None:
    """Sort each layer by the median place of its neighbours in the layer before, there and back."""
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        indices = range(1, len(layers)) if forth else range(len(layers) - 2, -1, -1)
        for index in indices:
            reference = layers[index - 1 if forth else index + 1]
            place = {node: position for position, node in enumerate(reference)}
            own = {node: position for position, node in enumerate(layers[index])}

            def rank(
                node: _Node, place: Mapping[_Node, int] = place, own: Mapping[_Node, int] = own
            ) -> float:
                near = [place[other] for other in links[node] if other in place]
                return median(near) if near else float(own[node])

            layers[index].sort(key=rank)


def _positions(
    layers: Sequence[Sequence[_Node]],
    links: Mapping[_Node, set[_Node]],
    sizes: Mapping[str, Size],
    gaps: Spacing,
) -> dict[_Node, float]:
    """Return each node's vertical centre: without overlap, near its neighbours."""

    def height(node: _Node) -> float:
        return sizes[node].height if isinstance(node, str) else gaps.lane

    centers: dict[_Node, float] = {}
    for layer in layers:
        y = gaps.margin
        for node in layer:
            centers[node] = y + height(node) / 2
            y += height(node) + gaps.row
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 else reversed(layers):
            wanted = [
                sum(centers[other] for other in links[node]) / len(links[node])
                if links[node]
                else centers[node]
                for node in layer
            ]
            for node, y in zip(
                layer, _spread(wanted, [height(node) for node in layer], gaps.row), strict=True
            ):
                centers[node] = y
    top = min(centers[node] - height(node) / 2 for layer in layers for node in layer)
    return {node: y - top + gaps.margin for node, y in centers.items()}


def _spread(wanted: Sequence[float], heights: Sequence[float], gap: float) -> list[float]:
    """Return centres in the given order, each as near to its wish as its neighbours allow.

    Nodes that would overlap are merged into a block, which stands at the mean of its members' wishes.
    """
    blocks: list[tuple[float, float, list[int]]] = []  # (mean wish of the first centre, total, members)
    offsets = [0.0]
    for before, after in pairwise(heights):
        offsets.append(offsets[-1] + before / 2 + gap + after / 2)
    for index, wish in enumerate(wanted):
        block = (wish - offsets[index], wish - offsets[index], [index])
        while blocks and blocks[-1][0] > block[0]:
            _, total, members = blocks.pop()
            total += block[1]
            members = members + block[2]
            block = (total / len(members), total, members)
        blocks.append(block)
    return [start + offsets[index] for start, _, members in blocks for index in members]
