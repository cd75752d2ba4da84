"""Whether figures depend on the machine: the same runs again and again, the last time beside a busy host.

What a node with a clock of its own measures must not change with the work that its host does besides.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from experiments.commands.display import Display
from experiments.commands.options import (
    add_run_options,
    add_single_options,
    guests_of,
    spec_of,
    twin_options_of,
)
from experiments.commands.run import Lane, run_side_by_side
from experiments.commands.stored import clear
from experiments.help import Commands, add_command
from experiments.records.jsonfields import JsonObject, dump
from experiments.records.record import RunRecord
from experiments.records.spec import PlannedRun, Spec, plan_runs, scenarios
from experiments.records.wholefile import write_json
from experiments.tables import plain_table
from experiments.targets import Target
from experiments.targets.twin import twin_targets
from load_generator.document import LatencySummary

BOUND_SHARE: Final = 0.05
"""How far from the undisturbed runs' median a figure may lie on a busy host."""


def add_steady(commands: Commands) -> None:
    parser = add_command(
        commands,
        "steady",
        help="make the same runs again and again, the last time on a busy machine, and compare the figures",
    )
    add_single_options(parser)
    add_run_options(parser)
    parser.set_defaults(command=_steady, repeats=3, more_repeats=0, output=Path("results/steady"))


def _steady(options: argparse.Namespace, console: Console) -> int:
    spec = spec_of(options, scenarios("all"))
    planned = same_runs(spec)
    clear(options.output)
    with Display(console, runs=len(planned)) as display:
        lanes = display.lanes(guests_of(options, len(planned)))
        with twin_targets(spec, twin_options_of(options), lanes) as targets:
            records = run_steady(planned, targets, lanes, options.output, busy_repeat=spec.repeats + 1)
    figures = steadiness(records, busy_repeat=spec.repeats + 1)
    write_json(options.output / "steady.json", {"figures": [figure.to_json() for figure in figures]})
    print_steadiness(console, figures)
    return 0 if all(figure.steady for figure in figures) else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """One figure of one scenario, over the undisturbed runs and in the one beside a busy host."""

    scenario: str
    name: str
    undisturbed_ms: tuple[float, ...]
    busy_ms: float

    @property
    def median_ms(self) -> float:
        return statistics.median(self.undisturbed_ms)

    @property
    def spread_share(self) -> float:
        """How far the undisturbed runs lie apart."""
        return (max(self.undisturbed_ms) - min(self.undisturbed_ms)) / self.median_ms

    @property
    def change_share(self) -> float:
        """What the busy host changed."""
        return self.busy_ms / self.median_ms - 1

    @property
    def steady(self) -> bool:
        """Return whether the busy host changed no more than the bound, or than runs differ."""
        return abs(self.change_share) <= max(BOUND_SHARE, self.spread_share)

    def to_json(self) -> JsonObject:
        return {
            **dump(self),
            "spread_share": self.spread_share,
            "change_share": self.change_share,
            "steady": self.steady,
        }


def same_runs(spec: Spec) -> tuple[PlannedRun, ...]:
    """Plan the spec's repeats and one more, all with the very same requests."""
    planned = plan_runs(dataclasses.replace(spec, repeats=spec.repeats + 1))
    return tuple(dataclasses.replace(run, load_seed=spec.seed) for run in planned)


def run_steady(
    planned: Sequence[PlannedRun],
    targets: Sequence[Target],
    lanes: Sequence[Lane],
    output: Path,
    *,
    busy_repeat: int,
) -> list[RunRecord]:
    """Make the runs, those of `busy_repeat` last and beside one busy process for each of the host's CPUs."""
    usual = [run for run in planned if run.repeat != busy_repeat]
    records = run_side_by_side(usual, targets, lanes, output)
    with busy_host():
        last = [run for run in planned if run.repeat == busy_repeat]
        return records + run_side_by_side(last, targets, lanes, output)


@contextlib.contextmanager
def busy_host() -> Iterator[list[int]]:
    """Keep every CPU of this machine busy for as long as the context lasts; yields who does."""
    busy = []
    with contextlib.ExitStack() as stack:
        for _ in os.sched_getaffinity(0):
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-I", "-S", "-c", "while True: pass"]
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            busy.append(process.pid)
        yield busy


def steadiness(records: Sequence[RunRecord], *, busy_repeat: int) -> list[Steadiness]:
    """Set each scenario's percentiles of the undisturbed runs against those of the busy one."""
    found = []
    for scenario in dict.fromkeys(record.scenario for record in records):
        runs = [record for record in records if record.scenario == scenario]
        busy = next(_percentiles(record) for record in runs if record.repeat == busy_repeat)
        others = [_percentiles(record) for record in runs if record.repeat != busy_repeat]
        found += [
            Steadiness(
                scenario=scenario,
                name=name,
                undisturbed_ms=tuple(figures[name] for figures in others),
                busy_ms=busy_ms,
            )
            for name, busy_ms in busy.items()
            if all(name in figures for figures in others)
        ]
    return found


def _percentiles(record: RunRecord) -> Mapping[str, float]:
    named: list[tuple[str, LatencySummary]] = [("request", record.load.latency)]
    if (fetch := record.load.timings.get("fetch")) is not None:
        named.append(("fetch", fetch))
    return {
        f"{label} {name}": value
        for label, summary in named
        for name, value in (("p50", summary.p50_ms), ("p95", summary.p95_ms), ("p99", summary.p99_ms))
        if value is not None
    }


def print_steadiness(console: Console, figures: Sequence[Steadiness]) -> None:
    """Print one line a figure."""
    numbers = ("undisturbed, ms", "apart", "busy host, ms", "change", "steady")
    table = plain_table(("scenario", "figure"), numbers)
    for figure in figures:
        table.add_row(
            figure.scenario,
            figure.name,
            " ".join(f"{value:.2f}" for value in figure.undisturbed_ms),
            f"{figure.spread_share:.1%}",
            f"{figure.busy_ms:.2f}",
            f"{figure.change_share:+.1%}",
            "yes" if figure.steady else "NO",
        )
    console.print(table)
