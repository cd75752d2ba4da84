"""What stands for a scenario where people see it: its name, its shape, its colour.

Colours are by meaning, so that a picture can be drawn for paper, for a dark page, or for both at once.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from experiments.records.spec import BASELINE, CONTENTION, DRCIO


@dataclass(frozen=True, slots=True)
class Palette:
    """One theme. The scenarios' colours are Okabe and Ito's, which the colour-blind can distinguish."""

    ink: str
    muted: str
    grid: str
    surface: str
    baseline: str
    contention: str
    drcio: str
    other: str

    def of(self, scenario: str) -> str:
        """Return a scenario's colour; policies that are not ours share one."""
        return {BASELINE: self.baseline, CONTENTION: self.contention, DRCIO: self.drcio}.get(
            scenario, self.other
        )


LIGHT: Final = Palette(
    ink="#1f2933",
    muted="#5f6c7b",
    grid="#e1e6ec",
    surface="#ffffff",
    baseline="#6b7785",
    contention="#d55e00",
    drcio="#0072b2",
    other="#9a6aa8",
)
DARK: Final = Palette(
    ink="#e6eaef",
    muted="#9aa7b4",
    grid="#2c3641",
    surface="#151b22",
    baseline="#a3b0bd",
    contention="#ff8a3d",
    drcio="#56b4e9",
    other="#cc9fd8",
)

_NAMES: Final = tuple(field.name for field in dataclasses.fields(Palette))
# Drawn in these colours, which nobody would choose, a picture can have them replaced by CSS variables.
PLACEHOLDER: Final = Palette(*(f"#010{index}fe" for index in range(len(_NAMES))))


CSS: Final = Palette(*(f"var(--{name})" for name in _NAMES))
"""The page's own variables."""


def in_colours(svg: str, palette: Palette) -> str:
    """Replace the placeholder colours of an SVG by a palette's."""
    for name in _NAMES:
        svg = svg.replace(getattr(PLACEHOLDER, name), getattr(palette, name))
    return svg


def css_variables(palette: Palette) -> str:
    """Write a theme as CSS declarations."""
    return " ".join(f"--{name}: {getattr(palette, name)};" for name in _NAMES)


_LABELS: Final = {BASELINE: "alone", CONTENTION: "no control", DRCIO: "DRC-IO"}


def label_of(scenario: str) -> str:
    """Return what a scenario is called where people read of it."""
    return _LABELS.get(scenario, scenario)


_MARKERS: Final = {
    BASELINE: "o",
    CONTENTION: "^",
    DRCIO: "s",
    "weight-only": "v",
    "bfq": "D",
    "iomax-10": "P",
    "iomax-50": "X",
    "iocost-static": "*",
    "step": "p",
}


def marker_of(scenario: str) -> str:
    """Return a scenario's shape, which distinguishes it where its colour does not."""
    return _MARKERS.get(scenario, "h")
