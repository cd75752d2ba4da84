"""The outcome for the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from experiments.fuzz.arms import FIXED, LAW, NONE
from experiments.fuzz.judge import P95_USUAL, Check, Figures, frontier

_SHOWN: Final = 12


def print_fuzz(console: Console, seeds: Sequence[Mapping[str, Figures]], checks: Sequence[Check]) -> None:
    """Print every arm over all seeds, then what was wanted, then the seeds that missed it."""
    table = _table("arm", "p50", "p95", "p95, 90%", "p95, worst", "p99, 90%", "share", "share, 10%")
    for arm in (NONE, LAW, *FIXED):
        each = [figures[arm] for figures in seeds if arm in figures]
        if each:
            table.add_row(arm, *_over(each))
    console.print(f"{len(seeds)} seeds; high priority in multiples of alone, medians unless another is named")
    console.print(table)
    settled = [figures[LAW].settled_s for figures in seeds]
    never = sum(value is None for value in settled)
    median = statistics.median([value for value in settled if value is not None] or [0.0])
    console.print(f"settled after {median:g} s in the median; not within {P95_USUAL:g} times alone: {never}")
    wanted = _table("wanted", "found", "bound", "")
    for check in checks:
        wanted.add_row(check.name, f"{check.found:.3f}", check.wanted, "met" if check.met else "missed")
    console.print(wanted)
    _print_missed(console, seeds, checks)


def _print_missed(console: Console, seeds: Sequence[Mapping[str, Figures]], checks: Sequence[Check]) -> None:
    missed = sorted({seed for check in checks if not check.met for seed in check.seeds})
    if not missed:
        return
    table = _table("seed", "p95", "p99", "share", "best fixed", "its p95", "its share")
    by_seed = {figures[LAW].seed: figures for figures in seeds}
    for seed in missed[:_SHOWN]:
        law, best = by_seed[seed][LAW], frontier(by_seed[seed])
        table.add_row(
            str(seed),
            f"{law.p95_ratio:.2f}",
            f"{law.p99_ratio:.2f}",
            f"{law.share:.2f}",
            *((best.arm, f"{best.p95_ratio:.2f}", f"{best.share:.2f}") if best else ("", "", "")),
        )
    console.print(f"{len(missed)} seeds miss a bound that is missed over all; the first of them:")
    console.print(table)


def _over(each: Sequence[Figures]) -> list[str]:
    def at(values: Sequence[float], ratio: float) -> float:
        return sorted(values)[min(len(values) - 1, int(ratio * len(values)))]

    p95, share = [one.p95_ratio for one in each], [one.share for one in each]
    figures = (
        statistics.median(one.p50_ratio for one in each),
        statistics.median(p95),
        at(p95, 0.9),
        max(p95),
        at([one.p99_ratio for one in each], 0.9),
        statistics.median(share),
        at(share, 0.1),
    )
    return [f"{value:.2f}" for value in figures]


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for index, title in enumerate(titles):
        table.add_column(title, justify="right" if index else "left", no_wrap=True)
    return table
