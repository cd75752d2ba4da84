"""Draw a picture once for the page (themed by CSS) and once for files (SVG and PNG)."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from experiments.report.palette import LIGHT, PLACEHOLDER, Palette, with_css_variables

PNG_DPI: Final = 160
_HEADLINE_CHARS: Final = 108

Draw = Callable[[Palette], Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture of the report, with the words that go with it."""

    name: str
    """File name without its ending."""
    title: str
    alt: str
    """What somebody who cannot see it should know."""
    caption: str
    """What is drawn, and how to read it, in plain words."""
    draw: Draw
    headline: str | None = None
    """Set above the picture in its files, which have no page around them to say it."""

    def inline_svg(self) -> str:
        """Return SVG for a page whose CSS variables give the colours."""
        svg = with_css_variables(self._svg(PLACEHOLDER, self.draw))
        svg = svg[svg.index("<svg") :]
        # Several pictures share a page, and ids must not clash there.
        svg = re.sub(r'\bid="', f'id="{self.name}-', svg)
        svg = re.sub(r"url\(#", f"url(#{self.name}-", svg)
        svg = re.sub(r'xlink:href="#', f'xlink:href="#{self.name}-', svg)
        return re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', _svg_head(r"\1"), svg, count=1)

    def write(self, directory: Path) -> tuple[Path, ...]:
        """Write the picture as SVG and PNG, in the light theme."""
        directory.mkdir(parents=True, exist_ok=True)
        svg, png = directory / f"{self.name}.svg", directory / f"{self.name}.png"
        svg.write_text(self._svg(LIGHT, self._draw_with_headline), encoding="utf-8")
        with mpl.rc_context(_style(LIGHT)):
            self._draw_with_headline(LIGHT).savefig(png, dpi=PNG_DPI, metadata={"Software": None})
        return svg, png

    def _svg(self, palette: Palette, draw: Draw) -> str:
        # Text stays text, to be read, searched and shown in the page's own font.
        style = _style(palette) | {"svg.fonttype": "none", "svg.hashsalt": self.name}
        buffer = io.StringIO()
        with mpl.rc_context(style):
            # Without a date, the same records give the same file.
            draw(palette).savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        return buffer.getvalue()

    def _draw_with_headline(self, palette: Palette) -> Figure:
        figure = self.draw(palette)
        if self.headline is not None:
            figure.suptitle(
                textwrap.fill(self.headline, _HEADLINE_CHARS), x=0.012, ha="left", fontsize=11.5,
                fontweight="bold", color=palette.ink,
            )  # fmt: skip
        return figure


def bare(axes: Axes, palette: Palette) -> None:
    """Leave of the frame only what is read."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(palette.grid)
    axes.tick_params(length=0, colors=palette.muted, which="both")
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=palette.grid, linewidth=0.8)


def _svg_head(view_box: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{view_box}" role="img" aria-hidden="true">'
    )


def _style(palette: Palette) -> dict[RcKeyType, object]:
    return {
        "figure.facecolor": palette.surface,
        "savefig.facecolor": palette.surface,
        "axes.facecolor": "none",
        "axes.edgecolor": palette.grid,
        "axes.labelcolor": palette.muted,
        "axes.titlecolor": palette.ink,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9.5,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "text.color": palette.ink,
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "lines.linewidth": 1.8,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
    }
