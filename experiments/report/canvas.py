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

from experiments.records.wholefile import write_bytes, write_text
from experiments.report.palette import CSS, LIGHT, PLACEHOLDER, Palette, in_colours

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

    def drawn(self) -> Drawn:
        """Draw it, in colours that stand for the theme's."""
        return Drawn(self, self.svg(PLACEHOLDER))

    def svg(self, palette: Palette, *, with_headline: bool = False) -> str:
        # Text stays text, to be read, searched and shown in the page's own font.
        style = _style(palette) | {"svg.fonttype": "none", "svg.hashsalt": self.name}
        buffer = io.StringIO()
        with mpl.rc_context(style):
            # Without a date, the same records give the same file.
            metadata = {"Date": None, "Creator": None}
            self._figure(palette, with_headline).savefig(buffer, format="svg", metadata=metadata)
        return buffer.getvalue()

    def png(self, palette: Palette) -> bytes:
        buffer = io.BytesIO()
        with mpl.rc_context(_style(palette)):
            metadata = {"Software": None}
            self._figure(palette, with_headline=True).savefig(buffer, dpi=PNG_DPI, metadata=metadata)
        return buffer.getvalue()

    def _figure(self, palette: Palette, with_headline: bool) -> Figure:
        figure = self.draw(palette)
        if with_headline and self.headline is not None:
            figure.suptitle(
                textwrap.fill(self.headline, _HEADLINE_CHARS), x=0.012, ha="left", fontsize=11.5,
                fontweight="bold", color=palette.ink,
            )  # fmt: skip
        return figure


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture and its SVG, drawn once for all uses: drawing is what a report spends its time on."""

    picture: Picture
    template: str

    def inline_svg(self) -> str:
        """Return SVG for a page whose CSS variables give the colours."""
        name = self.picture.name
        svg = in_colours(self.template[self.template.index("<svg") :], CSS)
        # Several pictures share a page, and ids must not clash there.
        svg = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", svg)
        return re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', _svg_head(r"\1"), svg, count=1)

    def write(self, directory: Path) -> tuple[Path, ...]:
        """Write the picture as SVG and PNG, in the light theme."""
        directory.mkdir(parents=True, exist_ok=True)
        picture = self.picture
        svg, png = directory / f"{picture.name}.svg", directory / f"{picture.name}.png"
        headed = picture.headline is not None
        text = picture.svg(LIGHT, with_headline=True) if headed else in_colours(self.template, LIGHT)
        write_text(svg, text)
        write_bytes(png, picture.png(LIGHT))
        return svg, png


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
