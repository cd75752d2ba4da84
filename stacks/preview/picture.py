"""The resource graph as a picture: drawn by Graphviz, readable on light and on dark ground."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from html import escape
from typing import Final

from stacks.errors import StackError
from stacks.preview.graph import Card, Graph

AREA_COLORS: Final[Mapping[str, str]] = {
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
_GROUND: Final = "#ffffff"
_BODY: Final = "#f6f8fa"
_BORDER: Final = "#d0d7de"
_LINE: Final = "#2b3640"
_EDGE: Final = "#8895a3"
_HEADING: Final = "#1d2733"
_DARK: Final[Mapping[str, str]] = {
    _GROUND: "#12171d",
    _BODY: "#1c242d",
    _BORDER: "#34404c",
    _LINE: "#d3dbe3",
    _EDGE: "#6d7b8a",
    _HEADING: "#e8edf2",
}
"""What each colour is on dark ground. Graphviz writes colours as attributes, over which a style wins."""
_FONT: Final = "DejaVu Sans"
"""Wide: what is laid out for it also holds another font."""
_PATIENCE_S: Final = 60


class PictureError(StackError):
    """The picture cannot be drawn."""


def as_svg(graph: Graph, heading: str) -> str:
    """Return the graph as an SVG document; what stands to the right is made later and destroyed earlier.

    Raises:
        PictureError: there is no `dot`, or it refuses the graph.
    """
    try:
        drawn = subprocess.run(
            ["dot", "-Tsvg"],
            input=as_dot(graph, heading),
            capture_output=True,
            text=True,
            check=True,
            timeout=_PATIENCE_S,
        ).stdout
    except FileNotFoundError as error:
        raise PictureError("dot is not found", hint="install graphviz; graph.dot is the graph") from error
    except subprocess.CalledProcessError as error:
        raise PictureError(f"dot failed: {error.stderr}") from error
    except subprocess.TimeoutExpired as error:
        raise PictureError(f"dot is not done after {_PATIENCE_S} s") from error
    start = drawn.index("<svg")
    after = drawn.index(">", start) + 1
    return f"{drawn[start:after]}\n<style>{_dark_style()}</style>{drawn[after:]}"


def as_dot(graph: Graph, heading: str) -> str:
    """Return the graph in Graphviz's language."""
    names = {card.key: f"n{index}" for index, card in enumerate(graph.cards)}
    font = f'fontname="{_FONT}"'
    lines = [
        "digraph stack {",
        f'graph [rankdir=LR, nodesep=0.25, ranksep=0.8, pad=0.3, bgcolor="{_GROUND}", labelloc=t, {font}]',
        f'graph [labeljust=l, fontsize=17, fontcolor="{_HEADING}", label=<<b>{escape(heading)}</b>>]',
        f"node [shape=plain, {font}]",
        f'edge [color="{_EDGE}", arrowsize=0.7]',
        *(f"{names[card.key]} [label=<{_card(card)}>]" for card in graph.cards),
        *(
            f"{names[needed]} -> {names[card.key]}"
            for card in graph.cards
            for needed in sorted(graph.needs.get(card.key, ()), key=names.__getitem__)
        ),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _card(card: Card) -> str:
    color = AREA_COLORS.get(card.area, AREA_COLORS["other"])
    rows = [
        f'<tr><td bgcolor="{color}" align="left"><font color="white" point-size="13"><b>{escape(card.title)}'
        "</b></font></td></tr>"
    ]
    for kind, number in card.contents:
        line = f"{kind} × {number}" if number > 1 else kind  # noqa: RUF001
        rows.append(
            f'<tr><td align="left"><font color="{_LINE}" point-size="12">{escape(line)}</font></td></tr>'
        )
    return (
        f'<table border="1" color="{_BORDER}" bgcolor="{_BODY}" style="rounded" cellborder="0"'
        f' cellspacing="0" cellpadding="4">{"".join(rows)}</table>'
    )


def _dark_style() -> str:
    rules = [
        f'[{attribute}="{light}"]{{{attribute}:{dark}}}'
        for light, dark in _DARK.items()
        for attribute in ("fill", "stroke")
    ]
    return f"@media (prefers-color-scheme: dark){{{''.join(rules)}}}"
