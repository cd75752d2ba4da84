"""The timeline: every quantity of a run, second by second."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import histogram, series
from experiments.figures import MIB, ScenarioResult, Study
from experiments.record import RunRecord, Sample
from experiments.report.canvas import Picture, bare
from experiments.report.labels import label_of
from experiments.report.palette import Palette
from experiments.report.scales import log_latency
from experiments.spec import SCENARIOS


def timeline(study: Study, records: Sequence[RunRecord]) -> Picture:
    """Draw a representative run of each scenario, one above another quantity by quantity."""
    names = [name for name in SCENARIOS if name in study.scenarios] or list(study.scenarios)[:3]
    shown = [_middle_run(study.scenarios[name], records) for name in names]
    rows = [row for row in _ROWS if any(row.has_data(record) for record in shown)]

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(10.5, 0.7 + 1.45 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), len(shown), squeeze=False, sharex="col", sharey="row")
        for row_axes, row in zip(grid, rows, strict=True):
            for axes, record in zip(row_axes, shown, strict=True):
                bare(axes, palette)
                axes.axvspan(-record.warmup_s, 0, color=palette.grid, alpha=0.45, linewidth=0)
                row.draw(axes, record, palette)
            row_axes[0].set_ylabel(row.label)
            row.scale(row_axes[0], shown)
        for axes, record in zip(grid[0], shown, strict=True):
            axes.set_title(
                f"{label_of(record.scenario)}, run {record.repeat}", color=palette.of(record.scenario)
            )
        for axes, record in zip(grid[-1], shown, strict=True):
            axes.set_xlabel("seconds of measured load")
            axes.set_xlim(-record.warmup_s, record.duration_s)
        figure.align_ylabels()
        return figure

    return Picture(
        name="timeline",
        title="What happened, second by second",
        alt="Per second and scenario: request latency, batch throughput, weights, vrate, device queue.",
        caption=(
            "For each scenario the run whose p95 is the middle one. Shaded is the warm-up, which is not "
            "judged. Latency: the line is each second's median, the band reaches up to its p95. "
            "Throughput: what the batch job's cgroup moved. Weights: io.weight of the service (solid) and "
            "of the batch job (dashed); they act only where an engine is on. vrate: how fast iocost lets "
            "I/O through, relative to its model. iocost MiB/s: model and vrate multiplied, for sequential "
            "reads, that is, what the volume is taken for. Queue: requests inside the device, on average; "
            "what waits there waits in one line, whatever its weight."
        ),
        draw=draw,
    )


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
    seconds, middles_ms, highs_ms = [], [], []
    for interval in record.load.intervals:
        seen = histogram.decode(interval.latency_histogram, where=record.file_name)
        middle_ms, high_ms = seen.percentile_ms(50), seen.percentile_ms(95)
        if middle_ms is not None and high_ms is not None:
            seconds.append(interval.t_s + 0.5)
            middles_ms.append(middle_ms)
            highs_ms.append(high_ms)
    colour = palette.of(record.scenario)
    axes.plot(seconds, middles_ms, color=colour)
    axes.fill_between(seconds, middles_ms, highs_ms, color=colour, alpha=0.25, linewidth=0)


def _scale_latency(axes: Axes, records: Sequence[RunRecord]) -> None:
    known = [
        value
        for record in records
        for value in (record.load.latency.p50_ms, record.load.latency.max_ms)
        if value
    ]
    axes.set_yscale("log")
    if known:
        axes.set_ylim(min(known) / 2, max(known) * 1.5)
        log_latency(axes.yaxis, axes.get_ylim())


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
    vrates_pct = sample.vrate_pct or {}
    for line in sample.model.splitlines():
        device, *words = line.split() or [""]
        rate = next((word.removeprefix("rbps=") for word in words if word.startswith("rbps=")), "")
        if device in devices and device in vrates_pct and rate.isdecimal():
            return int(rate) / MIB * vrates_pct[device] / 100
    return None


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
