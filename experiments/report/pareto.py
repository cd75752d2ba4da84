"""The picture of policies: what each costs the service against what it leaves to the batch job."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator, PercentFormatter

from experiments.judgement.compare import PolicyComparison, PolicyResult
from experiments.judgement.figures import Paired
from experiments.records.spec import CONTENTION, DRCIO, NO_POLICY
from experiments.report.canvas import Picture, bare
from experiments.report.palette import Palette, marker_of
from experiments.report.scales import TIMES

_LABEL_STEP: Final = 0.055
"""Height of a label, as a fraction of the panel."""
_HEADROOM: Final = 0.35
"""Room for labels above the worst policy, as a fraction of the panel below."""
_LOWEST_RATIO: Final = 0.75
_BELOW_LOWEST: Final = 0.9
"""The panel's lower edge, of the lowest ratio that is drawn."""
_LABEL_WIDTH: Final = 0.25
_LABEL_LEFT_FROM: Final = 0.3

_Read = Callable[[PolicyResult], tuple[float | None, Paired | None]]


def pareto(comparison: PolicyComparison) -> Picture:
    """Draw every policy that has figures."""
    panels: list[tuple[str, _Read]] = [
        ("Requests", lambda result: (result.p95_ratio, result.paired.get("p95_ratio"))),
        ("Disk fetches", lambda result: (result.fetch_p95_ratio, result.paired.get("fetch_p95_ratio"))),
    ]
    shown = [
        (title, read)
        for title, read in panels
        if any(read(result)[0] is not None for result in comparison.policies)
    ]

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(10.5, 4.8), layout="constrained")
        axes_row: Sequence[Axes] = figure.subplots(1, max(len(shown), 1), squeeze=False)[0]
        for axes, (title, read) in zip(axes_row, shown, strict=False):
            _draw(axes, title, read, comparison.policies, palette)
        return figure

    return Picture(
        name="policies",
        title="Policies compared",
        alt="; ".join(
            f"{result.policy}: p95 {_number(result.p95_ratio)} times alone, "
            f"batch throughput {_number(result.lp_share)} of uncontrolled"
            for result in comparison.policies
        ),
        caption=(
            "Every mark is a policy: to the right it leaves more to the batch job, further down it costs "
            "the service less. The lower right corner is perfect: latency as if alone, and nothing taken "
            "from the batch job. Thin lines reach from the lowest to the highest ratio of a single repeat."
        ),
        draw=draw,
    )


def _draw(axes: Axes, title: str, read: _Read, policies: Sequence[PolicyResult], palette: Palette) -> None:
    bare(axes, palette)
    axes.grid(axis="x", color=palette.grid, linewidth=0.8)
    axes.set_title(f"{title}: p95 against alone", color=palette.ink)
    axes.axhline(1, color=palette.baseline, linewidth=1, linestyle=(0, (4, 3)))
    points = [
        _Point(result, result.lp_share, centre, pairs)
        for result in policies
        for centre, pairs in (read(result),)
        if centre is not None and result.lp_share is not None
    ]
    highest = max([2.0, *(point.ratio for point in points)])
    lowest = min([_LOWEST_RATIO, *(_BELOW_LOWEST * point.lowest for point in points)])
    axes.set_yscale("log")
    axes.set_ylim(lowest, highest * (highest / lowest) ** _HEADROOM)
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if highest < 100 else (1.0,)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{TIMES}"))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlim(0, 1.12)
    axes.set_xlabel("batch throughput, of uncontrolled")
    for point, label_height in zip(points, _label_heights(points, axes.get_ylim()), strict=True):
        _draw_point(axes, point, label_height, palette)


@dataclass(frozen=True, slots=True)
class _Point:
    """A policy's place in one panel."""

    result: PolicyResult
    lp_share: float
    ratio: float
    pairs: Paired | None

    @property
    def lowest(self) -> float:
        """Return the lowest ratio that is drawn for it."""
        return self.ratio if self.pairs is None else min(self.ratio, self.pairs.min)


def _draw_point(axes: Axes, point: _Point, label_height: float, palette: Palette) -> None:
    policy = point.result.policy
    name, ours = CONTENTION if policy == NO_POLICY else policy, policy == DRCIO
    colour, lp_pairs = palette.of(name), point.result.paired.get("lp_share")
    if point.pairs is not None:
        axes.plot(
            [point.lp_share] * 2, [point.pairs.min, point.pairs.max], color=colour, linewidth=1, alpha=0.6
        )
    if lp_pairs is not None:
        axes.plot([lp_pairs.min, lp_pairs.max], [point.ratio] * 2, color=colour, linewidth=1, alpha=0.6)
    axes.scatter(
        [point.lp_share], [point.ratio], s=90 if ours else 55, color=colour, marker=marker_of(name),
        edgecolors=palette.surface, linewidths=0.7, zorder=4 if ours else 3,
    )  # fmt: skip
    left = _label_is_left(point)
    axes.annotate(
        "DRC-IO" if ours else policy, (point.lp_share, point.ratio),
        xytext=(point.lp_share - 0.06 if left else point.lp_share + 0.06, label_height),
        textcoords=axes.get_xaxis_transform(), ha="right" if left else "left", va="center", color=colour,
        fontweight="bold" if ours else "normal",
        path_effects=[withStroke(linewidth=3, foreground=palette.surface)],  # clear of the grid
        arrowprops={
            "arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 5,
            "relpos": (1.0 if left else 0.0, 0.5),
        },
    )  # fmt: skip


def _label_is_left(point: _Point) -> bool:
    return point.lp_share > _LABEL_LEFT_FROM


def _label_heights(points: Sequence[_Point], limits: tuple[float, float]) -> list[float]:
    """Place labels beside their points, each moved up until it is clear of those placed before.

    Heights are fractions of the panel; the axis is logarithmic.
    """
    low, high = (math.log(limit) for limit in limits)
    placed: list[tuple[_Point, float]] = []
    heights: dict[str, float] = {}
    for point in sorted(points, key=lambda point: (point.ratio, point.lp_share)):
        height = (math.log(point.ratio) - low) / (high - low) + _LABEL_STEP / 2
        while any(
            abs(height - other_height) < _LABEL_STEP and abs(point.lp_share - other.lp_share) < _LABEL_WIDTH
            for other, other_height in placed
        ):
            height += _LABEL_STEP / 4
        placed.append((point, height))
        heights[point.result.policy] = height
    return [heights[point.result.policy] for point in points]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
