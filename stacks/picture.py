"""The resource graph as a picture: one SVG file, readable on light and dark ground, no tool needed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import count
from typing import Final

from stacks.graph import Card, Graph
from stacks.layout import Box, Layout, Size, arrange

_COLORS: Final[Mapping[str, str]] = {
    "network": "#2f6fb5",
    "cluster": "#6b4fa8",
    "images": "#1f8a8a",
    "storage": "#b07a17",
    "monitoring": "#c65a1e",
    "controller": "#2e8b4f",
    "workloads": "#b23a5b",
    "experiment": "#5a6b7b",
    "other": "#6f7a86",
}
_TITLE_HEIGHT: Final = 30
_LINE_HEIGHT: Final = 17
_PADDING: Final = 10
_TITLE_CHARACTER: Final = 8.7
"""Width of a character of the title in pixels, generously: fonts differ."""
_LINE_CHARACTER: Final = 7.2
_HEADING_HEIGHT: Final = 40
_ARROW: Final = 7

_STYLE: Final = """
.ground{fill:#ffffff}.heading{fill:#1d2733;font-size:17px;font-weight:600}
.hint{fill:#5b6875;font-size:12px}.body{fill:#f6f8fa;stroke:#d0d7de}
.title{fill:#ffffff;font-size:13px;font-weight:600}.line{fill:#2b3640;font-size:12px}
.edge{fill:none;stroke:#8895a3;stroke-width:1.4}.tip{fill:#8895a3}
@media (prefers-color-scheme: dark){
.ground{fill:#12171d}.heading{fill:#e8edf2}.hint{fill:#98a5b3}.body{fill:#1c242d;stroke:#34404c}
.line{fill:#d3dbe3}.edge{stroke:#6d7b8a}.tip{fill:#6d7b8a}}
"""


def as_svg(graph: Graph, heading: str) -> str:
    """Return the graph as an SVG document; what stands to the right is made later and destroyed earlier."""
    sizes = {card.key: _size(card) for card in graph.cards}
    layout = arrange(sizes, graph.needs)
    width, height = layout.width, layout.height + _HEADING_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{escape(heading)}" '
        'font-family="system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif">',
        f"<style>{_STYLE}</style>",
        '<rect class="ground" width="100%" height="100%"/>',
        f'<text class="heading" x="24" y="30">{escape(heading)}</text>',
        f'<g transform="translate(0,{_HEADING_HEIGHT})">',
        *_edges(layout),
        *(part for card in graph.cards for part in _card(card, layout.boxes[card.key])),
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _lines(card: Card) -> list[str]:
    return [f"{kind} × {number}" if number > 1 else kind for kind, number in card.contents]  # noqa: RUF001


def _size(card: Card) -> Size:
    longest = max((len(line) for line in _lines(card)), default=0)
    width = max(len(card.title) * _TITLE_CHARACTER, longest * _LINE_CHARACTER) + 2 * _PADDING
    body = len(card.contents) * _LINE_HEIGHT + _PADDING if card.contents else 0
    return Size(width=width, height=_TITLE_HEIGHT + body)


def _card(card: Card, box: Box) -> list[str]:
    color = _COLORS.get(card.area, _COLORS["other"])
    parts = [f'<g transform="translate({box.x:.1f},{box.y:.1f})">']
    if card.contents:
        parts.append(f'<rect class="body" width="{box.width:.1f}" height="{box.height:.1f}" rx="7"/>')
        # Square at the bottom, where the list begins.
        parts.append(
            f'<path fill="{color}" d="M0 {_TITLE_HEIGHT} V7 Q0 0 7 0 H{box.width - 7:.1f} '
            f'Q{box.width:.1f} 0 {box.width:.1f} 7 V{_TITLE_HEIGHT} Z"/>'
        )
    else:
        parts.append(f'<rect fill="{color}" width="{box.width:.1f}" height="{box.height:.1f}" rx="7"/>')
    parts.append(f'<text class="title" x="{_PADDING}" y="20">{escape(card.title)}</text>')
    parts += [
        f'<text class="line" x="{_PADDING}" y="{y}">{escape(line)}</text>'
        for y, line in zip(count(_TITLE_HEIGHT + 16, _LINE_HEIGHT), _lines(card), strict=False)
    ]
    return [*parts, "</g>"]


def _edges(layout: Layout) -> list[str]:
    parts = []
    for points in layout.edges.values():
        (x, y), *rest = points
        path = [f"M{x:.1f} {y:.1f}"]
        for index, (next_x, next_y) in enumerate(rest):
            last = index == len(rest) - 1
            end_x = next_x - _ARROW if last else next_x
            middle = (x + end_x) / 2
            path.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {next_y:.1f} {end_x:.1f} {next_y:.1f}")
            x, y = end_x, next_y
        parts.append(f'<path class="edge" d="{" ".join(path)}"/>')
        parts.append(f'<path class="tip" d="M{x + _ARROW:.1f} {y:.1f} l-{_ARROW} -4 v8 Z"/>')
    return parts
