"""`fuzz`: random mixes of work on node twins or on the simulated node."""

from __future__ import annotations

import argparse
import os
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console

from experiments.commands.display import Display
from experiments.commands.guest_options import MOST_GUESTS, add_guest_options, seeds_at_a_time
from experiments.commands.options import CACHE, add_output_options
from experiments.errors import SpecError
from experiments.fuzz.arms import ALONE, ARMS, LAW, NONE
from experiments.fuzz.drive import (
    Asked,
    check_arms,
    parse_seeds,
    run_seeds,
    simulated,
    summarise,
)
from experiments.fuzz.guests import Guests, TwinBoot
from experiments.fuzz.mix import MEASURED_S, TWIN_MEASURED_S
from experiments.fuzz.outcome import SUMMARY_FILE
from experiments.fuzz.table import print_fuzz
from experiments.fuzz.todo import Todo
from experiments.help import Commands, add_command
from experiments.records.jsonfields import JsonObject
from experiments.report.fuzzed import fuzz_picture, read_fuzzed

_LEAST_MEASURED_S: Final = 1.0
_MOST_MEASURED_S: Final = 3600.0
"""Of an arm: two of its seconds say whether it settled."""


def add_fuzz(commands: Commands) -> None:
    fuzz = add_command(
        commands,
        "fuzz",
        help="judge the law on random mixes of work, against no control and fixed knobs",
        description="Each seed is a volume, a high-priority program and one to three low-priority ones "
        "(experiments/fuzz/mix.py). On a node twin, in its virtual time, an arm costs about a minute of the "
        "host's; simulated, a thousandth of that. Seeds in which a twin's CPU is short, not its volume (high "
        "priority beyond 1.5 times alone even under iomax-10), are judged apart.",
        epilog="exit status: 0 within all bounds, 1 beyond one, 3 where errors leave it open",
    )
    fuzz.add_argument("--seeds", default="1-20", metavar="N-M,...", help="which mixes of the distribution")
    fuzz.add_argument(
        "--simulated",
        action="store_true",
        help="on the simulated node instead of a twin: thousands of seeds in minutes",
    )
    fuzz.add_argument(
        "--arms", default=",".join(ARMS), help=f"comma-separated, beside {ALONE}, {NONE} and {LAW}"
    )
    fuzz.add_argument(
        "--duration",
        type=float,
        metavar="S",
        help=f"measured part of an arm; none given, {TWIN_MEASURED_S:g}, simulated {MEASURED_S:g}",
    )
    fuzz.add_argument(
        "--jobs",
        type=seeds_at_a_time,
        metavar="N",
        help="seeds at a time; by default one for each CPU, on twins two at most (with KVM one)",
    )
    fuzz.add_argument(
        "--resume", action="store_true", help="keep what is stored of these seeds, and run what is missing"
    )
    add_output_options(fuzz, Path("results/fuzz"), "the summary")
    add_guest_options(fuzz)
    fuzz.set_defaults(command=_fuzz)


def _fuzz(options: argparse.Namespace, console: Console) -> int:
    usual_s = MEASURED_S if options.simulated else TWIN_MEASURED_S
    measured_s: float = usual_s if options.duration is None else options.duration
    if not _LEAST_MEASURED_S <= measured_s <= _MOST_MEASURED_S:
        raise SpecError(
            f"--duration is {measured_s:g}; expected {_LEAST_MEASURED_S:g} to {_MOST_MEASURED_S:g} seconds",
            hint=f"{usual_s:g} is usual",
        )
    asked = Asked(
        seeds=parse_seeds(options.seeds),
        arms=check_arms(options.arms.split(",")),
        output=options.output,
        where="simulated" if options.simulated else "twin",
        measured_s=measured_s,
        resume=options.resume,
    )
    records = (_fuzz_simulated if options.simulated else _fuzz_twin)(asked, options, console)
    summary = summarise(records, options.output)
    print_fuzz(console, summary)
    console.print(f"records: {options.output}")
    if summary.figures:
        svg, _ = fuzz_picture(read_fuzzed(options.output / SUMMARY_FILE)).drawn().write(options.output)
        console.print(f"picture: {svg}")
    if options.json:
        print((options.output / SUMMARY_FILE).read_text(), end="")
    return summary.exit_code


def _fuzz_simulated(asked: Asked, options: argparse.Namespace, console: Console) -> list[JsonObject]:
    done = 0
    with console.status("no seed is done yet") as status:

        def count(_record: JsonObject) -> None:
            nonlocal done
            done += 1
            status.update(f"{done} of {len(asked.seeds)} seeds")

        jobs = options.jobs or os.cpu_count() or 1
        run = partial(simulated, measured_s=asked.measured_s, jobs=jobs)
        return run_seeds(asked, run, on_seed=count)


def _fuzz_twin(asked: Asked, options: argparse.Namespace, console: Console) -> list[JsonObject]:
    boot = TwinBoot(
        output=options.output,
        cache=CACHE,
        kernel=options.kernel,
        kvm=options.kvm,
        measured_s=asked.measured_s,
    )
    # With KVM guests share the host's time, and would disturb each other's figures.
    most = 1 if options.kvm != "off" and os.access("/dev/kvm", os.R_OK | os.W_OK) else MOST_GUESTS
    wanted: int = options.jobs or len(os.sched_getaffinity(0))

    def run(todo: Sequence[Todo]) -> Generator[JsonObject]:
        with Display(console, runs=sum(len(one.arms) for one in todo)) as display:
            lanes = display.lanes(max(1, min(wanted, most, len(todo))))
            if todo:
                yield from Guests(todo, options.output, lanes, boot).records()

    return run_seeds(asked, run, on_seed=lambda _record: None)
