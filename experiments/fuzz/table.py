"""The outcome for the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from experiments.fuzz.arms import FIXED, LAW, NONE
from experiments.fuzz.drive import Summary
from experiments.fuzz.judge import P95_USUAL, Check, Figures, frontier, regretted
from experiments.tables import plain_table

_SHOWN: Final = 12
_NAMED: Final = 4
_EACH_MOST: Final = 40
"""Seeds that are shown one by one; of more, those that miss a bound."""


def print_fuzz(console: Console, summary: Summary) -> None:
    """Print every arm over all seeds, each seed where they are few, and what was wanted."""
    for seed, errors in summary.errors.items():
        for arm, text in errors.items():
            console.print(f"seed {seed} {arm}: {text}", markup=False)
    if summary.host_s:
        each = summary.host_s / max(summary.guest_s, 1e-9)
        console.print(
            f"{summary.guest_s:.0f} s by the node's clock took {summary.host_s:.0f} s ({each:.1f} each)"
        )
    if not summary.figures:
        console.print("no seed has all that an arm is compared with: alone, none and drcio")
        return
    _print_arms(console, summary.figures)
    if len(summary.figures) <= _EACH_MOST:
        _print_each(console, summary)
    for checks, what in (
        (summary.checks, "wanted"),
        (summary.checks_short, f"apart, the CPU is short: {len(summary.short)} seeds"),
    ):
        if checks:
            wanted = _table(what, "found", "bound", "", "seeds")
            for check in checks:
                met = "met" if check.met else "missed"
                bound = check.wanted.removesuffix(" of the seeds")
                wanted.add_row(check.name, f"{check.found:.3f}", bound, met, _few(check.seeds))
            console.print(wanted)
    if len(summary.figures) > _EACH_MOST:
        _print_missed(console, summary.figures, summary.checks)


def _few(seeds: Sequence[int]) -> str:
    named = [str(seed) for seed in seeds[:_NAMED]]
    return ", ".join([*named, f"{len(seeds) - _NAMED} more"] if len(seeds) > _NAMED else named)


def _print_arms(console: Console, seeds: Sequence[Mapping[str, Figures]]) -> None:
    table = _table("arm", "seeds", "p50", "p95", "90%", "worst", "p99 90%", "share", "90%")
    for arm in (NONE, LAW, *FIXED):
        each = [figures[arm] for figures in seeds if arm in figures]
        if each:
            table.add_row(arm, str(len(each)), *_over(each))
    console.print(
        f"{len(seeds)} seeds; high priority in multiples of alone, low priority's share of what it has "
        "uncontrolled; medians, and under 90% what nine seeds in ten keep"
    )
    console.print(table)
    settled = [figures[LAW].settled_s for figures in seeds]
    never = sum(value is None for value in settled)
    median = statistics.median([value for value in settled if value is not None] or [0.0])
    console.print(
        f"settled (two seconds within {P95_USUAL:g} times alone) after {median:g} s in the median; "
        f"never: {never} seeds"
    )


def _print_each(console: Console, summary: Summary) -> None:
    """Print each seed: uncontrolled, under the law, and under the fixed knob that protects best."""
    table = _table(
        *("seed", "none", "p50", "p95", "p99", "share", "settled"),
        *("fixed", "p95", "share"),
    )
    for arms in summary.figures:
        law, best = arms[LAW], frontier(arms)
        table.add_row(
            str(law.seed),
            f"{arms[NONE].p95_ratio:.2f}",
            *(f"{value:.2f}" for value in (law.p50_ratio, law.p95_ratio, law.p99_ratio, law.share)),
            "never" if law.settled_s is None else f"{law.settled_s:g} s",
            *((best.arm, f"{best.p95_ratio:.2f}", f"{best.share:.2f}") if best else ("", "", "")),
        )
    console.print("each seed: p95 uncontrolled, the law, the fixed knob that protects best")
    console.print(table)
    if summary.short:
        console.print(f"short of CPU, and judged apart: {', '.join(map(str, summary.short))}")
    if summary.not_full:
        console.print(f"the volume was not full uncontrolled: {', '.join(map(str, summary.not_full))}")
    better = [f"{arms[LAW].seed} ({knob})" for arms in summary.figures if (knob := regretted(arms))]
    if better:
        console.print(f"a fixed knob is better in both: {', '.join(better)}")


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
    table = plain_table(titles[:1], titles[1:])
    for column in table.columns:
        column.no_wrap = True
    return table
