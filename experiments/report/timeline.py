"""The timeline: every quantity of a run, second by second."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.judgement import series
from experiments.judgement.figures import MIB, ScenarioResult, Study
from experiments.judgement.kernelfiles import device_fields
from experiments.records import histogram
from experiments.records.record import RunRecord, Sample
from experiments.records.spec import NO_POLICY, SCENARIOS
from experiments.report.actions import Action, actions_of
from experiments.report.canvas import Picture, bare
from experiments.report.palette import Palette, label_of
from experiments.report.scales import scale_latency

MAX_POINTS: Final = 1200
"""More make a page heavy and a cloud of points no clearer."""
MAX_NUMBERED: Final = 24
_LATENCY_HEIGHT: Final = 2.0
"""Of the other panels' height: points need room."""
_GOLDEN: Final = (math.sqrt(5) - 1) / 2


def timeline(study: Study, records: Sequence[RunRecord]) -> Picture:
    """Draw a representative run of each scenario, one above another quantity by quantity."""
    shown = middle_runs(study, records)
    rows = [row for row in _ROWS if any(row.has_data(record) for record in shown)]

    def draw(palette: Palette) -> Figure:
        heights = [_LATENCY_HEIGHT if row.label == "latency" else 1.0 for row in rows]
        figure = Figure(figsize=(10.5, 0.7 + 1.35 * sum(heights)), layout="constrained")
        grid = figure.subplots(
            len(rows), len(shown), squeeze=False, sharex="col", sharey="row", height_ratios=heights
        )
        for row_axes, row in zip(grid, rows, strict=True):
            for axes, record in zip(row_axes, shown, strict=True):
                bare(axes, palette)
                axes.axvspan(-record.warmup_s, 0, color=palette.grid, alpha=0.45, linewidth=0)
                row.draw(axes, record, palette)
            row_axes[0].set_ylabel(row.label)
            row.scale(row_axes[0], shown)
        for column, record in zip(zip(*grid, strict=True), shown, strict=True):
            _mark_actions(column, actions_of(record) if record.policy != NO_POLICY else (), palette)
        for axes, record in zip(grid[0], shown, strict=True):
            axes.set_title(
                f"{label_of(record.scenario)}, run {record.repeat}", color=palette.of(record.scenario), pad=13
            )
        for axes, record in zip(grid[-1], shown, strict=True):
            axes.set_xlabel("seconds of measured load")
            axes.set_xlim(-record.warmup_s, record.duration_s)
        figure.align_ylabels()
        return figure

    return Picture(
        name="timeline",
        title="What happened, request by request",
        alt="Over time: every request's latency, batch throughput, weights, vrate, device queue.",
        caption=(
            "For each scenario the run whose p95 is the middle one. Shaded is the warm-up, which is not "
            "judged. Latency: each point is a request (of more than "
            f"{MAX_POINTS} a choice, with the slow ones), the line each second's median, dashed the run's "
            "p95; a cross on top is a second with failed requests. Dotted lines across all panels are what "
            "the controller did, by number in the table below. "
            "Throughput: what the batch job's cgroup moved. Weights: io.weight of the service (solid) and "
            "of the batch job (dashed); they act only where an engine is on. vrate: how fast iocost lets "
            "I/O through, relative to its model. iocost MiB/s: model and vrate multiplied, for sequential "
            "reads: what iocost is told that the volume can do. Under DRC-IO that may be more than it can: "
            "iocost lets in less than it is told, and the controller makes up for the difference. Queue: "
            "requests inside the device, on average; what waits there waits in one line, whatever its weight."
        ),
        draw=draw,
    )


def middle_runs(study: Study, records: Sequence[RunRecord]) -> tuple[RunRecord, ...]:
    """Return a representative run of each scenario: the one whose p95 is the middle one."""
    names = [name for name in SCENARIOS if name in study.scenarios] or list(study.scenarios)[:3]
    return tuple(_middle_run(study.scenarios[name], records) for name in names)


def _middle_run(result: ScenarioResult, records: Sequence[RunRecord]) -> RunRecord:
    middle_ms = result.hp.p95_ms or 0.0
    chosen = min(result.runs, key=lambda run: (abs((run.hp.p95_ms or math.inf) - middle_ms), run.order))
    return next(record for record in records if record.order == chosen.order)


@dataclass(frozen=True, slots=True)
class _Row:
    """One quantity of the timeline."""

    label: str
    has_data: Callable[[RunRecord], bool]
    draw: Callable[[Axes, RunRecord, Palette], None]
    scale: Callable[[Axes, Sequence[RunRecord]], None]


def _draw_latency(axes: Axes, record: RunRecord, palette: Palette) -> None:
    """Draw a point for every request, their median per second, the p95 of the run, and failures above."""
    colour = palette.of(record.scenario)
    points = requests_of(record)
    size = 9.0 if len(points) < 400 else 4.0
    axes.scatter(
        [point.t_s for point in points], [point.latency_ms for point in points], s=size, color=colour,
        alpha=0.55, linewidths=0,
    )  # fmt: skip
    middles = [
        (interval.t_s + 0.5, middle_ms)
        for interval in record.load.intervals
        if (
            middle_ms := histogram.decode(interval.latency_histogram, where=record.file_name).percentile_ms(
                50
            )
        )
    ]
    if middles:
        axes.plot(*zip(*middles, strict=True), color=colour, linewidth=1.2)
    if record.load.latency.p95_ms:
        axes.axhline(record.load.latency.p95_ms, color=palette.ink, linewidth=0.8, linestyle=(0, (4, 3)))
    failed = [interval.t_s + 0.5 for interval in record.load.intervals if interval.errors]
    axes.scatter(
        failed,
        [0.96] * len(failed),
        marker="x",
        s=24,
        color=palette.ink,
        transform=axes.get_xaxis_transform(),
    )


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the measured window, as a point."""

    t_s: float
    """Somewhere in the second for which it was scheduled; where, the record does not say."""
    latency_ms: float


def requests_of(record: RunRecord) -> list[Request]:
    """Return a run's requests from its histograms, which have each second's latencies to three digits.

    Of many, every slow one is kept and of the others an even choice.
    """
    found = []
    for interval in record.load.intervals:
        seen = histogram.decode(interval.latency_histogram, where=record.file_name)
        latencies_ms = [
            high_us / 1000
            for high_us, count in zip(seen.highs_us, seen.counts, strict=True)
            for _ in range(count)
        ]
        # Steps of the golden ratio lie evenly and in no order, so that no second looks like a ramp.
        found += [
            Request(interval.t_s + math.modf((index + 0.5) * _GOLDEN)[0], latency_ms)
            for index, latency_ms in enumerate(latencies_ms)
        ]
    if len(found) <= MAX_POINTS:
        return found
    slowest_first = sorted(found, key=lambda one: -one.latency_ms)
    slow, others = slowest_first[: MAX_POINTS // 4], slowest_first[MAX_POINTS // 4 :]
    return slow + others[:: math.ceil(len(others) / (MAX_POINTS - len(slow)))]


def _mark_actions(column: Sequence[Axes], actions: Sequence[Action], palette: Palette) -> None:
    """Draw a line through a run's whole column for every action, with its number on top if there is room."""
    for number, action in enumerate(actions, start=1):
        for axes in column:
            axes.axvline(action.t_s, color=palette.muted, linewidth=0.6, linestyle=(0, (1, 2)))
        if len(actions) <= MAX_NUMBERED:
            column[0].annotate(
                str(number), (action.t_s, 1), xycoords=column[0].get_xaxis_transform(), xytext=(0, 2),
                textcoords="offset points", ha="center", fontsize=7.5, color=palette.muted,
            )  # fmt: skip


def _scale_latency(axes: Axes, records: Sequence[RunRecord]) -> None:
    known_ms = [point.latency_ms for record in records for point in requests_of(record)]
    scale_latency(axes, known_ms, room=(1.3, 1.5))


def _draw_lp(axes: Axes, record: RunRecord, palette: Palette) -> None:
    counter = series.pods_counter(record.pods_of("lp"), series.pod_bytes)
    _draw_steps(axes, series.steps(record.samples, counter), 1 / MIB, palette.of(record.scenario))


def _draw_queue(axes: Axes, record: RunRecord, palette: Palette) -> None:
    def waited_ms(sample: Sample) -> int | None:
        known = [sample.device[name].queue_ticks_ms for name in record.devices.hp if name in sample.device]
        return sum(known) if known else None

    # Milliseconds of waiting per second of time: a thousandth of it is the mean number that waits.
    _draw_steps(axes, series.steps(record.samples, waited_ms), 1 / 1000, palette.of(record.scenario))


def _draw_weights(axes: Axes, record: RunRecord, palette: Palette) -> None:
    colour = palette.of(record.scenario)
    for pods, style in ((record.pods_of("hp"), "solid"), (record.pods_of("lp"), "dashed")):
        known = [
            (sample.t_s, weight)
            for sample in record.samples
            for name in pods[:1]
            if name in sample.pods and (weight := sample.pods[name].io_weight) is not None
        ]
        if known:
            axes.step(*zip(*known, strict=True), where="post", color=colour, linestyle=style)


def _scale_weights(axes: Axes, records: Sequence[RunRecord]) -> None:
    axes.set_yscale("log")
    axes.set_ylim(0.7, 15_000)
    axes.set_yticks([1, 10, 100, 1000, 10_000], ["1", "10", "100", "1000", "10000"])
    axes.minorticks_off()


def _draw_vrate(axes: Axes, record: RunRecord, palette: Palette) -> None:
    for device in record.devices.hp:
        known = [
            (sample.t_s, sample.vrate_pct[device])
            for sample in record.samples
            if sample.vrate_pct is not None and device in sample.vrate_pct
        ]
        if known:
            axes.plot(*zip(*known, strict=True), color=palette.of(record.scenario))


def _budget_mib_s(sample: Sample, devices: Sequence[str]) -> float | None:
    """Return the rate of sequential reads that iocost lets through: its model times vrate.

    A model stays behind when iocost is turned off, but vrate is reported only while it is on.
    """
    rate = (device_fields(sample.model, devices) or {}).get("rbps", "")
    vrates_pct = [vrate for device, vrate in (sample.vrate_pct or {}).items() if device in devices]
    return int(rate) / MIB * vrates_pct[0] / 100 if vrates_pct and rate.isdecimal() else None


def _draw_budget(axes: Axes, record: RunRecord, palette: Palette) -> None:
    known = [
        (sample.t_s, budget)
        for sample in record.samples
        if (budget := _budget_mib_s(sample, record.devices.hp)) is not None
    ]
    if known:
        axes.step(*zip(*known, strict=True), where="post", color=palette.of(record.scenario))


def _draw_steps(axes: Axes, steps: Iterable[series.Step], factor: float, colour: str) -> None:
    known = [((step.start_s + step.end_s) / 2, step.per_s * factor) for step in steps]
    if known:
        xs, ys = zip(*known, strict=True)
        axes.plot(xs, ys, color=colour)
        axes.fill_between(xs, ys, 0, color=colour, alpha=0.12, linewidth=0)


def _from_zero(axes: Axes, records: Sequence[RunRecord]) -> None:
    axes.set_ylim(0, axes.get_ylim()[1] * 1.15)


def _has_weights(record: RunRecord) -> bool:
    return any(pod.io_weight is not None for sample in record.samples for pod in sample.pods.values())


_ROWS: Final = (
    _Row("latency", lambda record: bool(record.load.intervals), _draw_latency, _scale_latency),
    _Row("batch MiB/s", lambda record: bool(record.samples), _draw_lp, _from_zero),
    _Row("io.weight", _has_weights, _draw_weights, _scale_weights),
    _Row(
        "vrate %",
        lambda record: any(sample.vrate_pct for sample in record.samples),
        _draw_vrate,
        _from_zero,
    ),
    _Row(
        "iocost MiB/s",
        lambda record: any(_budget_mib_s(sample, record.devices.hp) for sample in record.samples),
        _draw_budget,
        _from_zero,
    ),
    _Row(
        "queue in device",
        lambda record: any(sample.device for sample in record.samples),
        _draw_queue,
        _from_zero,
    ),
)
