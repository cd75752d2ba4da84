"""The three scenarios under one kind of batch job after another, on one boot.

The service alone does not depend on the batch job, so each repeat measures it once, for all of them.
Every batch job gets a results folder like any experiment's, with its own report.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast, get_args

from rich.console import Console

from experiments.commands.display import Display
from experiments.commands.options import add_run_options, spec_of, twin_options_of
from experiments.commands.run import Lane
from experiments.commands.stored import clear
from experiments.errors import SpecError
from experiments.help import Commands, add_command
from experiments.judgement.reasons import Outcome
from experiments.judgement.results import RESULTS_FILE
from experiments.records.jsonfields import JsonObject
from experiments.records.record import RunRecord, write_run
from experiments.records.spec import BASELINE, LP_PATTERNS, PlannedRun, Spec, plan_runs, scenarios
from experiments.report import build_report, write_spec
from experiments.report.scales import ratio
from experiments.tables import plain_table
from experiments.targets import Target
from experiments.targets.twin import twin_target

DEFAULT_BATCHES: Final = (
    "sequential-read:1024,sequential-write:1024,random-read:4,random-write:64,buffered-write-fsync:1024"
)


def add_sweep(commands: Commands) -> None:
    parser = add_command(
        commands,
        "sweep",
        help="run the three scenarios under one kind of batch job after another",
    )
    parser.add_argument(
        "--batches", default=DEFAULT_BATCHES, metavar="PATTERN:KIB,...", help="kinds of batch job"
    )
    add_run_options(parser)
    # Each batch job has a pattern and a block size of its own.
    parser.set_defaults(command=_sweep, lp_pattern=LP_PATTERNS[0], lp_block_kib=1, more_repeats=0)


def _sweep(options: argparse.Namespace, console: Console) -> int:
    batches = parse_batches(options.batches)
    spec = spec_of(options, scenarios("all"))
    for batch in batches:
        clear(options.output / batch.name)
    with Display(console, runs=runs_of(spec, batches)) as display:
        lane = display.lane()
        with twin_target(spec, twin_options_of(options), lane) as target:
            sweep(spec, batches, lambda one: target.with_options(spec=one), options.output, lane)
    with console.status("drawing the reports"):
        reports = [build_report(options.output / batch.name) for batch in batches]
    print_sweep(console, options.output, batches)
    console.print(f"reports: {options.output}/*/report.html")
    return max(report.verdict.exit_code for report in reports)


@dataclass(frozen=True, slots=True)
class Batch:
    """A kind of batch job: a pattern and its block size."""

    pattern: str
    block_kib: int

    @property
    def name(self) -> str:
        return f"{self.pattern}-{self.block_kib}k"

    def applied_to(self, spec: Spec) -> Spec:
        return replace(spec, lp_pattern=self.pattern, lp_block_bytes=self.block_kib << 10)


def parse_batches(text: str) -> tuple[Batch, ...]:
    """Parse `PATTERN:KIB,...`; raises SpecError."""
    batches = []
    for word in text.split(","):
        pattern, _, kib = word.partition(":")
        if pattern not in LP_PATTERNS or not kib.isdecimal() or int(kib) < 1:
            raise SpecError(
                f"batch job {word!r}; expected PATTERN:KIB with a pattern of {', '.join(LP_PATTERNS)}",
                hint="for example random-read:4,sequential-write:1024",
            )
        batches.append(Batch(pattern, int(kib)))
    if len({batch.name for batch in batches}) < len(batches):
        raise SpecError(f"batch jobs are {text}; expected each only once")
    return tuple(batches)


def sweep(
    spec: Spec,
    batches: Sequence[Batch],
    target_of: Callable[[Spec], Target],
    output: Path,
    lane: Lane,
) -> None:
    """Make all runs, repeat by repeat, and store each batch job's records in a folder of its own."""
    done = 0

    def make(one: Spec, planned: PlannedRun, label: str) -> RunRecord:
        nonlocal done
        done += 1
        shown = replace(planned, order=done, scenario=replace(planned.scenario, name=label))
        lane.run(shown, None)
        record = target_of(one).run(planned, lane)
        lane.run(shown, record)
        return record

    specs = {batch.name: batch.applied_to(spec) for batch in batches}
    for name, one in specs.items():
        write_spec(output / name, one)
    for repeat in range(1, spec.repeats + 1):
        alone: RunRecord | None = None
        for name, one in specs.items():
            for planned in (run for run in plan_runs(one) if run.repeat == repeat):
                if planned.scenario.name != BASELINE:
                    record = make(one, planned, f"{name} {planned.scenario.name}")
                else:
                    alone = alone or make(one, planned, BASELINE)
                    record = replace(alone, order=planned.order)
                write_run(output / name, record)


def runs_of(spec: Spec, batches: Sequence[Batch]) -> int:
    """Return how many runs a sweep makes."""
    others = sum(scenario.name != BASELINE for scenario in spec.scenarios)
    return spec.repeats * (1 + others * len(batches))


def print_sweep(console: Console, output: Path, batches: Sequence[Batch]) -> None:
    """Print one line per batch job from the results in the folders."""
    console.print(
        "Request and disk fetch p95 in multiples of the service alone;"
        " the batch job's throughput as a share of what it gets without control."
    )
    table = plain_table(["batch job"], ("no control p95", "p95", "fetch", "batch"))
    table.columns[0].min_width = max(len(batch.name) for batch in batches)
    table.add_column("verdict", min_width=max(map(len, get_args(Outcome))))
    for batch in batches:
        document: JsonObject = json.loads((output / batch.name / RESULTS_FILE).read_text())
        figures = cast("Mapping[str, float | None]", document["comparison"])
        share = figures["work_conservation"]
        table.add_row(
            batch.name,
            ratio(figures["contention_p95_ratio"]),
            ratio(figures["drcio_p95_ratio"]),
            ratio(figures["drcio_fetch_p95_ratio"]),
            "-" if share is None else f"{share:.0%}",
            str(document["verdict"]),
        )
    console.print(table)
