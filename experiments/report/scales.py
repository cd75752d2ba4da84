"""Axes that read well: latencies on a log scale in plain numbers, percentiles by their nines."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

TIMES: Final = "\N{MULTIPLICATION SIGN}"
DASH: Final = "\N{EN DASH}"
PERCENTILES: Final = (0.0, 50.0, 90.0, 95.0, 99.0, 99.9)


def milliseconds(value: float) -> str:
    """Write a latency with a unit that fits it: 0.8 ms, 12 ms, 1.5 s."""
    if value >= 1000:
        return f"{value / 1000:.3g} s"
    return f"{value:.3g} ms"


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


def log_latency(axis: Axis, values_ms: Iterable[float]) -> None:
    """Label a logarithmic latency axis at 1, 2, 5 or, over many decades, at 1 only."""
    known = [value for value in values_ms if value > 0]
    decades = math.log10(max(known) / min(known)) if known else 1.0
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
