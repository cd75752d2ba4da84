"""The picture of policies: what each costs the service against what it leaves to the batch job."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator, PercentFormatter

from experiments.compare import PolicyComparison, PolicyResult
from experiments.report.canvas import Picture, bare
from experiments.report.palette import MARKERS, OTHER_MARKER, Palette
from experiments.report.scales import TIMES
from experiments.spec import CONTENTION, DRCIO, NO_POLICY
from experiments.study import Paired

_Read = Callable[[PolicyResult], tuple[float | None, Paired | None]]


def pareto(comparison: PolicyComparison) -> Picture:
    """Draw every policy that has figures."""
    panels: list[tuple[str, _Read]] = [
        ("Requests", lambda result: (result.p95_ratio, result.p95_pairs)),
        ("Disk fetches", lambda result: (result.fetch_p95_ratio, result.fetch_p95_pairs)),
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
    highest = 2.0
    for result in policies:
        centre, pairs = read(result)
        if centre is None or result.lp_share is None:
            continue
        name = CONTENTION if result.policy == NO_POLICY else result.policy
        colour, ours = palette.of(name), result.policy == DRCIO
        highest = max(highest, centre)
        if pairs is not None:
            axes.plot([result.lp_share] * 2, [pairs.min, pairs.max], color=colour, linewidth=1, alpha=0.6)
        if result.lp_pairs is not None:
            axes.plot(
                [result.lp_pairs.min, result.lp_pairs.max], [centre, centre],
                color=colour, linewidth=1, alpha=0.6,
            )  # fmt: skip
        axes.scatter(
            [result.lp_share], [centre], s=90 if ours else 48, color=colour,
            marker=MARKERS.get(name, OTHER_MARKER), zorder=3,
        )  # fmt: skip
        axes.annotate(
            "DRC-IO" if ours else result.policy, (result.lp_share, centre), xytext=(-7, 6),
            textcoords="offset points", ha="right", color=colour, fontweight="bold" if ours else "normal",
        )  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(0.75, highest * 2)
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if highest < 100 else (1.0,)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{TIMES}"))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlim(0, 1.12)
    axes.set_xlabel("batch throughput, of uncontrolled")


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
