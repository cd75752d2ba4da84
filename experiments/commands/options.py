"""The options that several commands have, and what they become: a specification, a node's options."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from experiments.commands.guest_options import MOST_GUESTS, add_guest_options, guests, memory_mib
from experiments.records.spec import (
    ARRIVALS,
    LOAD_LEVELS,
    LP_PATTERNS,
    Scenario,
    Spec,
    parse_volume,
)
from experiments.targets.twin import TwinOptions
from load_generator.levels import LEVELS_RPS, level_rps

REPOSITORY: Final = Path(__file__).resolve().parents[2]
CACHE: Final = REPOSITORY / ".cache"
DEFAULT_OUTPUT: Final = Path("results/latest")
DEFAULT_VOLUME: Final = "gp3"
TWIN_LEVEL: Final = "low"
"""At medium an emulated CPU of 10^9 instructions a second is full beside the batch job: the volume's own work
takes most of it, and the service waited for the CPU half of the time (2026-11-27)."""
CLUSTER_LEVEL: Final = "medium"
TWIN_ARRIVALS: Final = "constant"
"""An emulated guest has one CPU, for which requests that come together wait as well."""
CLUSTER_ARRIVALS: Final = "poisson"


def add_volume_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--volume", default=DEFAULT_VOLUME, metavar="V", help="gp3, gp3:IOPS:MIBPS or io2:IOPS"
    )


def add_output_options(parser: argparse.ArgumentParser, output: Path, printed: str) -> None:
    """Add --output, where the files go, and --json, which prints the outcome besides."""
    parser.add_argument("--output", type=Path, default=output, metavar="DIR", help="where to")
    parser.add_argument("--json", action="store_true", help=f"print {printed}; progress goes to stderr")


def add_single_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lp-pattern", choices=LP_PATTERNS, default="mixed", help="what the batch job does")
    parser.add_argument("--lp-block-kib", type=int, default=1024, metavar="KIB", help="its block size")
    parser.add_argument(
        "--more-repeats",
        type=int,
        default=2,
        metavar="N",
        help="how many to add, one at a time, where only the CPU keeps the verdict open",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--load-level",
        choices=LOAD_LEVELS,
        help="offered load: "
        + ", ".join(f"{name} {rps:g}/s" for name, rps in LEVELS_RPS.items())
        + f"; none given, {TWIN_LEVEL} on a twin and {CLUSTER_LEVEL} on a cluster",
    )
    parser.add_argument("--rate", type=float, metavar="RPS", help="exact offered load, instead of a level")
    parser.add_argument(
        "--arrivals",
        choices=ARRIVALS,
        help="constant, or poisson as independent users come; none given, "
        f"{TWIN_ARRIVALS} on a twin and {CLUSTER_ARRIVALS} on a cluster",
    )
    parser.add_argument(
        "--duration",
        type=float,
        default=12.0,
        metavar="S",
        help="measured part of a run, by the node's clock",
    )
    parser.add_argument("--warmup", type=float, default=3.0, metavar="S", help="load before it, not judged")
    parser.add_argument("--repeats", type=int, default=2, metavar="N", help="runs of each scenario")
    add_volume_option(parser)
    parser.add_argument("--lp-workers", type=int, default=32, metavar="N", help="the batch job's queue depth")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of schedules and run order")
    add_output_options(parser, DEFAULT_OUTPUT, "results.json")
    twin = parser.add_argument_group("the twin")
    add_guest_options(twin)
    twin.add_argument(
        "--prometheus",
        action="store_true",
        help="scrape the node's pods once a second and keep the data with the results, for Prometheus",
    )
    twin.add_argument(
        "--guests",
        type=guests,
        metavar="N",
        help="emulated guests side by side; by default one for each CPU, at most two",
    )
    twin.add_argument("--memory-mib", type=memory_mib, default=4096, metavar="MIB", help="the guest's memory")
    twin.add_argument(
        "--volume-unknown", action="store_true", help="do not give the controller the volume's limits"
    )
    twin.add_argument(
        "--lp-idle", action="store_true", help="leave the batch job out; to see such a run judged invalid"
    )
    twin.add_argument(
        "--lp-elsewhere", action="store_true", help="give the batch job a volume of its own; likewise invalid"
    )


def spec_of(
    options: argparse.Namespace,
    arms: tuple[Scenario, ...],
    *,
    usual_level: str = TWIN_LEVEL,
    usual_arrivals: str = TWIN_ARRIVALS,
) -> Spec:
    level: str = options.load_level or usual_level
    return Spec(
        scenarios=arms,
        load_level="custom" if options.rate is not None else level,
        rate_rps=options.rate if options.rate is not None else level_rps(level),
        duration_s=options.duration,
        warmup_s=options.warmup,
        repeats=options.repeats,
        more_repeats=options.more_repeats,
        volume=parse_volume(options.volume),
        lp_pattern=options.lp_pattern,
        lp_block_bytes=options.lp_block_kib << 10,
        lp_workers=options.lp_workers,
        seed=options.seed,
        arrivals=options.arrivals or usual_arrivals,
    )


def twin_options_of(options: argparse.Namespace) -> TwinOptions:
    return TwinOptions(
        output=options.output,
        cache=CACHE,
        kvm=options.kvm,
        kernel=options.kernel,
        memory_mib=options.memory_mib,
        give_controller_volume=not options.volume_unknown,
        scrape=options.prometheus,
        lp_idle=options.lp_idle,
        lp_elsewhere=options.lp_elsewhere,
    )


def guests_of(options: argparse.Namespace, runs: int) -> int:
    """Return how many emulated guests to run side by side; their figures do not depend on each other.

    With Prometheus one, for there is one set of its data.
    """
    if options.prometheus:
        return 1
    wanted: int = options.guests or len(os.sched_getaffinity(0))
    return max(1, min(wanted, MOST_GUESTS, runs))
