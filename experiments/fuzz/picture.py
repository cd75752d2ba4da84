"""Every seed and policy as a dot: what high priority pays, against what low priority gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from experiments.fuzz.arms import LAW, NONE
from experiments.fuzz.judge import P95_USUAL, SHARE_MEDIAN, Figures

_SHOWN: Final = (
    (NONE, "#b0b0b0", "x"),
    ("iocost-100", "#56b4e9", "."),
    ("iocost-70", "#56b4e9", "+"),
    ("iomax-75", "#d55e00", "."),
    ("iomax-50", "#e69f00", "."),
    ("iomax-25", "#f0e442", "."),
    ("iomax-10", "#009e73", "."),
    (LAW, "#0072b2", "o"),
)


def draw_fuzz(seeds: Sequence[Mapping[str, Figures]], path: Path) -> Path:
    """Write the picture; its ending says the format."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    size = 14 if len(seeds) > 200 else 30
    for arm, colour, marker in _SHOWN:
        each = [figures[arm] for figures in seeds if arm in figures]
        if not each:
            continue
        axes.scatter(
            [max(one.p95_ratio, 0.5) for one in each],
            [min(one.share, 1.5) for one in each],
            s=size,
            c=colour,
            marker=marker,
            label=arm,
            alpha=0.6,
            linewidths=0.8,
        )
    axes.axvline(P95_USUAL, color="black", linewidth=0.8, linestyle=":")
    axes.axhline(SHARE_MEDIAN, color="black", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlabel("high priority's p95, in multiples of alone")
    axes.set_ylabel("low priority, of what it has uncontrolled")
    axes.legend(loc="lower right")
    figure.savefig(path)
    return path
