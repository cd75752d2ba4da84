"""Axes that read well: latencies on a log scale in plain numbers, percentiles by their nines."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

TIMES: Final = "\N{MULTIPLICATION SIGN}"
DASH: Final = "\N{EN DASH}"
PERCENTILES: Final = (0.0, 50.0, 90.0, 95.0, 99.0, 99.9)


def milliseconds(value: float | None) -> str:
    """Write a latency with a unit that fits it: 0.8 ms, 12 ms, 1.5 s; a dash where there is none."""
    if value is None:
        return DASH
    return f"{value / 1000:.3g} s" if value >= 1000 else f"{value:.3g} ms"


def percent(value: float | None) -> str:
    """Write a share, or a dash where there is none."""
    return DASH if value is None else f"{value:.0%}"


def span(low: str, high: str) -> str:
    """Write a range, its unit only once."""
    number = re.match(r"[\d.]+", low)
    if number is not None and low[number.end() :] == high.lstrip("0123456789."):
        low = number[0]
    return f"{low}{DASH}{high}"


def ratio(value: float | None) -> str:
    """Write a ratio, or a dash where there is none."""
    if value is None:
        return DASH
    return f"{value:.2f}{TIMES}" if value < 10 else f"{value:.0f}{TIMES}"


def scale_latency(axes: Axes, values_ms: Iterable[float], *, room: tuple[float, float] | None = None) -> None:
    """Make the upright axis logarithmic, with so many times more `room` below and above the values, if given.

    Without a value there is no scale: where no request was answered the axis stays bare.
    """
    known = [value for value in values_ms if value > 0]
    if not known:
        axes.set_yticks([])
        return
    axes.set_yscale("log")
    if room is not None:
        below, above = room
        axes.set_ylim(min(known) / below, max(known) * above)
        known = list(axes.get_ylim())
    _label_latency(axes.yaxis, math.log10(max(known) / min(known)))


def _label_latency(axis: Axis, decades: float) -> None:
    """Label a logarithmic latency axis at 1, 2, 5 or, over many decades, at 1 only."""
    subs = (1.0, 2.0, 5.0) if decades < 2.2 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: milliseconds(value)))
    axis.set_minor_formatter(NullFormatter())


def nines(share: float) -> float:
    """Place a share of requests by how few are slower: each step outwards is a tenth of them."""
    return -math.log10(max(1.0 - share, 1e-6))


def label_percentiles(axis: Axis, highest_share: float) -> None:
    """Label an axis of `nines` with percentiles up to the highest for which there are enough data."""
    shown = [p for p in PERCENTILES if p / 100 <= highest_share]
    axis.set_major_locator(FixedLocator([nines(p / 100) for p in shown]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(
        FuncFormatter(lambda _, index: f"p{shown[index]:g}" if index is not None else "")
    )
