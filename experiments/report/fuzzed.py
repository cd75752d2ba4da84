"""What the fuzz found, on the page of a report that lies beside its results: their place, and no verdict."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from experiments.fuzz.arms import FIXED, LAW, NONE
from experiments.fuzz.judge import P95_USUAL, SHARE_MEDIAN
from experiments.fuzz.measure import SCHEMA
from experiments.fuzz.outcome import SUMMARY_FILE, Outcome
from experiments.records.jsonfields import read_document
from experiments.records.spec import CONTENTION, DRCIO
from experiments.report.canvas import Picture, bare
from experiments.report.palette import Palette
from experiments.report.scales import TIMES

FOLDER: Final = "fuzz"
_HINT: Final = "make it again with `python -m experiments fuzz --resume`, or remove it"
_LEAST_RATIO: Final = 0.5
_MOST_SHARE: Final = 1.5
_SHOWN: Final = (
    ("any fixed knob", FIXED, "other"),
    ("uncontrolled", (NONE,), CONTENTION),
    ("DRC-IO", (LAW,), DRCIO),
)


def find_fuzzed(directory: Path) -> Outcome | None:
    """Read the fuzz that lies in a results folder or beside it; None where there is none.

    Raises RecordError where there is one and it is damaged.
    """
    for path in (directory / FOLDER / SUMMARY_FILE, directory.resolve().parent / FOLDER / SUMMARY_FILE):
        if path.is_file():
            return read_fuzzed(path)
    return None


def read_fuzzed(path: Path) -> Outcome:
    """Read a fuzz's summary; raises RecordError where it is damaged."""
    return read_document(path, schema=SCHEMA, hint=_HINT).convert(Outcome)


def fuzz_picture(fuzzed: Outcome) -> Picture:
    """Draw a dot for each seed and policy."""

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(10.5, 4.8), layout="constrained")
        axes = figure.add_subplot()
        bare(axes, palette)
        for label, arms, name in _SHOWN:
            dots = [one[arm] for one in fuzzed.figures for arm in arms if arm in one]
            axes.scatter(
                [min(dot.share, _MOST_SHARE) for dot in dots],
                [max(dot.p95_ratio, _LEAST_RATIO) for dot in dots],
                s=40 if name == DRCIO else 22, color=palette.of(name), label=label, alpha=0.75,
                edgecolors=palette.surface, linewidths=0.5,
            )  # fmt: skip
        axes.axhline(P95_USUAL, color=palette.muted, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.axvline(SHARE_MEDIAN, color=palette.muted, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(base=10))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{TIMES}"))
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("low priority, of what it gets uncontrolled")
        axes.set_ylabel("high priority's p95, of alone")
        legend = axes.legend(frameon=False, loc="upper left")
        for text in legend.get_texts():
            text.set_color(palette.ink)
        return figure

    return Picture(
        name="fuzz",
        title="Mixes that nobody tuned for",
        alt=_in_words(fuzzed),
        caption=(
            "Every dot is one random mix of work under one policy: to the right low priority keeps more, "
            "further down high priority pays less. The dashed lines are what is wanted, of nine seeds in ten "
            "and of the median."
        ),
        draw=draw,
    )


def _in_words(fuzzed: Outcome) -> str:
    law = [one[LAW] for one in fuzzed.figures]
    p95, share = [one.p95_ratio for one in law], [one.share for one in law]
    return (
        f"{len(law)} mixes under DRC-IO: high priority's p95 is {statistics.median(p95):.2f} times alone "
        f"in the median and {max(p95):.2f} at worst; low priority keeps {statistics.median(share):.0%}"
    )
