"""The pictures that every experiment gets: overview, distributions, timeline (its own file), all runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.judgement.figures import RunResult, ScenarioResult, Study
from experiments.judgement.protection import FETCH
from experiments.judgement.verdict import Verdict, headline
from experiments.records import histogram
from experiments.records.record import RunRecord
from experiments.records.spec import BASELINE, CONTENTION, SCENARIOS
from experiments.report.canvas import Picture, bare
from experiments.report.palette import Palette, label_of, marker_of
from experiments.report.scales import label_percentiles, milliseconds, nines, ratio, scale_latency
from experiments.report.timeline import timeline
from load_generator.document import LatencySummary


def pictures(study: Study, verdict: Verdict, records: Sequence[RunRecord]) -> tuple[Picture, ...]:
    """Return the pictures for which there is data, in the order of the page."""
    if not records:
        return ()
    return (
        _overview(study, verdict),
        timeline(study, records),
        _distributions(study, records),
        _all_runs(study),
    )


@dataclass(frozen=True, slots=True)
class _Panel:
    """One figure of every scenario, as points of runs with their median."""

    title: str
    read: Callable[[RunResult | ScenarioResult], float | None]
    is_latency: bool


_PANELS: Final = (
    _Panel("Request latency, p95", lambda result: result.hp.p95_ms, is_latency=True),
    _Panel("Disk fetch latency, p95", lambda result: result.hp.fetch_p95_ms, is_latency=True),
    _Panel("Batch job throughput", lambda result: result.lp.mib_s, is_latency=False),
)


def _overview(study: Study, verdict: Verdict) -> Picture:
    results = [study.scenarios[name] for name in SCENARIOS if name in study.scenarios] or list(
        study.scenarios.values()
    )
    panels = [panel for panel in _PANELS if any(panel.read(result) is not None for result in results)]

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(10.5, 3.9), layout="constrained")
        axes_row: Sequence[Axes] = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(axes_row, panels, strict=True):
            _draw_panel(axes, panel, results, palette)
        return figure

    medians = "; ".join(
        f"{label_of(result.name)}: request p95 {_known(result.hp.p95_ms, milliseconds)}, "
        f"fetch p95 {_known(result.hp.fetch_p95_ms, milliseconds)}, batch {result.lp.mib_s:.0f} MiB/s"
        for result in results
    )
    return Picture(
        name="overview",
        title="The result at a glance",
        alt=f"Medians: {medians}.",
        caption=(
            "Each small mark is one run, each bar the median of a scenario's runs. The two latencies are "
            "on a logarithmic scale: a step from one grid line to the next is a multiple, not a sum. "
            "Low latency and high throughput at once is what is wanted."
        ),
        draw=draw,
        headline=headline(study, verdict),
    )


def _draw_panel(axes: Axes, panel: _Panel, results: Sequence[ScenarioResult], palette: Palette) -> None:
    bare(axes, palette)
    axes.set_title(panel.title, color=palette.ink)
    everything: list[float] = []
    for place, result in enumerate(results):
        colour, marker = palette.of(result.name), marker_of(result.name)
        idle = result.name == BASELINE and not panel.is_latency
        values = [value for run in result.runs if (value := panel.read(run)) is not None and not idle]
        median = panel.read(result)
        everything += values
        offsets = [place + (index - (len(values) - 1) / 2) * 0.09 for index in range(len(values))]
        axes.scatter(
            offsets, values, s=26, color=colour, marker=marker, linewidths=0.7, edgecolors=palette.surface,
            zorder=4,
        )  # fmt: skip
        if idle:
            axes.annotate("not running", (place, 0), xytext=(0, 7), textcoords="offset points",
                          ha="center", color=colour)  # fmt: skip
        elif median is not None:
            axes.plot([place - 0.3, place + 0.3], [median, median], color=colour, linewidth=2.5, zorder=3)
            axes.annotate(
                _median_text(panel, result, results), (place, max([median, *values])), xytext=(0, 7),
                textcoords="offset points", ha="center", color=colour, fontweight="bold", linespacing=1.35,
            )  # fmt: skip
    axes.set_xticks(range(len(results)), [label_of(result.name) for result in results])
    axes.set_xlim(-0.6, len(results) - 0.4)
    for tick, result in zip(axes.get_xticklabels(), results, strict=True):
        tick.set_color(palette.of(result.name))
    if panel.is_latency:
        scale_latency(axes, everything, room=(1.6, 2.6))
    else:
        axes.set_ylim(0, max(everything, default=1.0) * 1.3 or 1.0)
        axes.set_ylabel("MiB/s")


def _median_text(panel: _Panel, result: ScenarioResult, results: Sequence[ScenarioResult]) -> str:
    """Write a median and what it is against the scenario that it is measured by."""
    median = panel.read(result)
    if median is None:
        return ""
    against = next(
        (other for other in results if other.name == (BASELINE if panel.is_latency else CONTENTION)), None
    )
    reference = panel.read(against) if against is not None and against is not result else None
    text = milliseconds(median) if panel.is_latency else f"{median:.0f} MiB/s"
    if not reference:
        return text
    share = median / reference
    return f"{text}\n{ratio(share)} alone" if panel.is_latency else f"{text}\n{share:.0%}"


def _distributions(study: Study, records: Sequence[RunRecord]) -> Picture:
    names = [name for name in SCENARIOS if name in study.scenarios] or list(study.scenarios)
    kinds: list[tuple[str, Callable[[RunRecord], LatencySummary | None]]] = [
        ("Request latency, as the client sees it", lambda record: record.load.latency)
    ]
    if any(FETCH in record.load.timings for record in records):
        kinds.append(("Disk fetch, as the service sees it", lambda record: record.load.timings.get(FETCH)))

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(10.5, 4.2), layout="constrained")
        axes_row: Sequence[Axes] = figure.subplots(1, len(kinds), squeeze=False)[0]
        for axes, (title, read) in zip(axes_row, kinds, strict=True):
            bare(axes, palette)
            axes.set_title(title, color=palette.ink)
            axes.grid(axis="x", color=palette.grid, linewidth=0.8)
            _draw_distribution(axes, names, records, read, palette)
        if axes_row[0].lines:
            axes_row[0].legend(loc="upper left", labelcolor=palette.ink)
        return figure

    return Picture(
        name="latency",
        title="How latency is distributed",
        alt="Latency by percentile for each scenario, on a logarithmic scale.",
        caption=(
            "Read it from left to right: half of the requests are faster than the line at p50, 95 in a "
            "hundred faster than at p95. Every step to the right asks about ever rarer, ever slower "
            "requests. The thick line is all runs of a scenario together, thin ones are the single runs, "
            "where there are several. A line ends where there are too few requests to tell."
        ),
        draw=draw,
    )


def _draw_distribution(
    axes: Axes,
    names: Sequence[str],
    records: Sequence[RunRecord],
    read: Callable[[RunRecord], LatencySummary | None],
    palette: Palette,
) -> None:
    drawn_ms: list[float] = []
    highest_share = 0.5
    for name in names:
        single = [
            histogram.decode(summary.histogram, where=record.file_name)
            for record in records
            if record.scenario == name and (summary := read(record)) is not None
        ]
        single = [one for one in single if one.total]
        if not single:
            continue
        colour = palette.of(name)
        if len(single) > 1:
            for one in single:
                axes.plot(*_percentile_line(one), color=colour, linewidth=0.8, alpha=0.45)
        merged = histogram.merge(single)
        xs, latencies_ms = _percentile_line(merged)
        axes.plot(xs, latencies_ms, color=colour, linewidth=2.4, label=label_of(name))
        drawn_ms += latencies_ms
        highest_share = max(highest_share, 1 - 1 / merged.total)
    scale_latency(axes, drawn_ms)
    axes.set_xlim(0, nines(highest_share))
    label_percentiles(axes.xaxis, highest_share)


def _percentile_line(one: histogram.Histogram) -> tuple[list[float], list[float]]:
    """Return a staircase-free line through the buckets, up to the slowest but one request."""
    latencies_ms, shares = one.cumulative()
    known = [(nines(share), ms) for ms, share in zip(latencies_ms, shares, strict=True) if share < 1]
    start = [(0.0, latencies_ms[0])]
    points = start + (known or [(nines(1 - 0.5 / one.total), latencies_ms[-1])])
    return [x for x, _ in points], [ms for _, ms in points]


def _all_runs(study: Study) -> Picture:
    panels = [
        panel for panel in _PANELS if any(panel.read(run) is not None for run in study.runs)
    ] or _PANELS[:1]

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(10.5, 3.4), layout="constrained")
        axes_row: Sequence[Axes] = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(axes_row, panels, strict=True):
            bare(axes, palette)
            axes.set_title(panel.title, color=palette.ink)
            drawn: list[float] = []
            for name, result in study.scenarios.items():
                known = [(run.order, value) for run in result.runs if (value := panel.read(run)) is not None]
                if not known or (name == BASELINE and not panel.is_latency):
                    continue
                orders, values = zip(*known, strict=True)
                drawn += values
                axes.plot(
                    orders, values, color=palette.of(name), marker=marker_of(name),
                    markersize=5, linewidth=0.9, alpha=0.9, label=label_of(name),
                )  # fmt: skip
            if panel.is_latency:
                scale_latency(axes, drawn, room=(1.15, 1.15))
            else:
                axes.set_ylim(0, axes.get_ylim()[1] * 1.15)
                axes.set_ylabel("MiB/s")
            axes.set_xlabel("run, in the order in which they were made")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(
            *axes_row[0].get_legend_handles_labels(), loc="outside lower center",
            ncols=max(1, min(len(study.scenarios), 5)), labelcolor=palette.ink,
        )  # fmt: skip
        return figure

    return Picture(
        name="runs",
        title="Every run",
        alt="Each run's p95 latencies and batch throughput in the order of the runs.",
        caption=(
            "Of several runs, scenarios take turns, so that what changes with time touches all of them: "
            "lines that wander together show such a drift, lines that keep their distance the effect."
        ),
        draw=draw,
    )


def _known(value: float | None, write: Callable[[float], str]) -> str:
    return "unknown" if value is None else write(value)
