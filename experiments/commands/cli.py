"""The experiment's command line: `python -m experiments COMMAND`.

Exit status of `run`, `compare`, `report` and `fuzz`: 0 pass, 1 fail, 3 inconclusive, 4 invalid; 2 for wrong
usage or an error, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from experiments.commands.display import Display
from experiments.commands.guest_options import (
    MOST_GUESTS,
    add_guest_options,
    add_kvm_option,
    guests,
    memory_mib,
)
from experiments.commands.run import plan_and_run, run_all, run_side_by_side
from experiments.commands.steady import print_steadiness, run_steady, same_runs, steadiness
from experiments.commands.sweep import DEFAULT_BATCHES, parse_batches, print_sweep, runs_of, sweep
from experiments.errors import ExperimentError, SpecError
from experiments.fuzz.arms import ALONE, ARMS, LAW, NONE
from experiments.fuzz.drive import (
    SUMMARY_FILE,
    Asked,
    check_arms,
    parse_seeds,
    run_seeds,
    simulated,
    summarise,
)
from experiments.fuzz.guests import Guests, TwinBoot
from experiments.fuzz.mix import MEASURED_S, TWIN_MEASURED_S
from experiments.fuzz.table import print_fuzz
from experiments.fuzz.todo import Todo
from experiments.help import Commands, Parser, add_command
from experiments.judgement.verdict import EXIT_CODES
from experiments.metrics.export import export_metrics
from experiments.metrics.prometheus import explore, exploring
from experiments.metrics.prometheus import twin_targets as scrape_targets
from experiments.metrics.scraped import make_blocks
from experiments.records.jsonfields import JsonObject
from experiments.records.own import read_own_runs, write_own_run
from experiments.records.record import RUNS_FOLDER, read_runs
from experiments.records.spec import (
    ARRIVALS,
    CONTENTION,
    DRCIO,
    LOAD_LEVELS,
    LP_PATTERNS,
    POLICIES,
    SCENARIOS,
    Scenario,
    Spec,
    parse_volume,
    plan_runs,
    policy_scenarios,
    scenario,
    scenarios,
)
from experiments.records.wholefile import write_json
from experiments.report import build_report, print_summary, write_spec
from experiments.report.fuzzed import fuzz_picture, read_fuzzed
from experiments.report.own import own_status, print_own_runs
from experiments.response.drive import respond, response_spec
from experiments.response.table import print_response
from experiments.targets.cluster import ClusterOptions, PulumiStack, deployed_as_configured, volume_of
from experiments.targets.node import Node
from experiments.targets.own import OwnTarget
from experiments.targets.own_manifests import read_workloads
from experiments.targets.twin import TwinOptions, bare_twin, twin_target, twin_targets
from experiments.workloads import Workload
from load_generator.levels import LEVELS_RPS, level_rps
from node_twin.errors import TwinError
from node_twin.host.ending import ended_by_signals
from node_twin.host.session import running
from node_twin.layout import PODS_FOLDER

ERROR_STATUS = 2
CLUSTER_PROMETHEUS_URL = "http://127.0.0.1:9090"
"""Where docs/how-to/observe.md forwards the cluster's Prometheus to."""
INTERRUPTED_STATUS = 130
DEFAULT_OUTPUT = Path("results/latest")
DEFAULT_VOLUME = "gp3"
_TWIN_LEVEL = "low"
"""At medium an emulated CPU of 10^9 instructions a second is full beside the batch job: the volume's own work
takes most of it, and the service waited for the CPU half of the time (2026-11-27)."""
_CLUSTER_LEVEL = "medium"
_LEAST_MEASURED_S, _MOST_MEASURED_S = 1.0, 3600.0
"""Of an arm of the fuzz: two of its seconds say whether it settled."""
_REPOSITORY = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    console = Console(stderr=getattr(options, "json", False), highlight=False, soft_wrap=True)
    try:
        with ended_by_signals():
            status: int = options.command(options, console)
    except KeyboardInterrupt:
        print(f"nothing is left running{_kept(getattr(options, 'output', None))}", file=sys.stderr)
        return INTERRUPTED_STATUS
    except (ExperimentError, TwinError) as error:
        print(f"error: {error.args[0]}", file=sys.stderr)
        if isinstance(error, TwinError) and (tail := getattr(error, "console_tail", "")):
            print(f"--- the guest's console ends with ---\n{tail}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return ERROR_STATUS
    return status


def _kept(output: Path | None) -> str:
    """Name the folder of what was finished before an interruption."""
    if output is None or not output.is_dir():
        return ""
    runs = len(list(output.glob(f"**/{RUNS_FOLDER}/*.json")))
    return (
        f"; {runs} finished run{'s are' if runs != 1 else ' is'} in {output}" if runs else f"; see {output}"
    )


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; each sets the function that carries it out as `command`."""
    parser = Parser(prog="python -m experiments", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        *(_add_run, _add_look, _add_compare, _add_sweep, _add_respond, _add_steady, _add_fuzz),
        *(_add_report, _add_export, _add_explore),
    ):
        add(commands)
    return parser


def _add_run(commands: Commands) -> None:
    run = add_command(
        commands,
        "run",
        help="run baseline, contention and drcio, and judge them",
    )
    run.add_argument("--scenario", choices=("all", *SCENARIOS), default="all", help="which to run")
    run.add_argument(
        "--workloads",
        type=Path,
        metavar="DIR",
        help="run the Pod manifests of this folder instead of ours; their I/O is measured, nothing is judged",
    )
    run.add_argument(
        "--target",
        choices=("twin", "cluster"),
        default="twin",
        help="a node twin on this machine, or a stack of the Pulumi program",
    )
    run.add_argument("--stack", metavar="NAME", help="of --target cluster; its volume and its configuration")
    _add_single_options(run)
    _add_run_options(run)
    run.set_defaults(command=_run)


def _add_look(commands: Commands) -> None:
    look = add_command(
        commands,
        "look",
        help="run contention and drcio once each and short: what control does, at a glance, and no proof",
    )
    _add_single_options(look)
    _add_run_options(look)
    look.set_defaults(command=_look, repeats=1, more_repeats=0, duration=8.0, output=Path("results/look"))


def _add_compare(commands: Commands) -> None:
    compare = add_command(
        commands,
        "compare",
        help="run several policies side by side on one twin",
    )
    compare.add_argument(
        "--policies", default=",".join(POLICIES), help="comma-separated; iomax-N caps at N%% of the volume"
    )
    compare.add_argument("--target", choices=("twin",), default="twin", help="where to run")
    _add_single_options(compare)
    _add_run_options(compare)
    compare.set_defaults(command=_compare)


def _add_sweep(commands: Commands) -> None:
    sweeping = add_command(
        commands,
        "sweep",
        help="run the three scenarios under one kind of batch job after another",
    )
    sweeping.add_argument(
        "--batches", default=DEFAULT_BATCHES, metavar="PATTERN:KIB,...", help="kinds of batch job"
    )
    _add_run_options(sweeping)
    sweeping.set_defaults(
        command=_sweep, lp_pattern=LP_PATTERNS[0], lp_block_kib=1, more_repeats=0
    )  # each batch has its own


def _add_respond(commands: Commands) -> None:
    respond = add_command(
        commands,
        "respond",
        help="measure how quickly the controller reacts and how exactly it shares",
    )
    _add_volume_option(respond)
    respond.add_argument(
        "--changed-volume",
        default="gp3:1500:60",
        metavar="V",
        help="what the volume is changed to under way, and then back; an emulated CPU carries no 250 MiB/s",
    )
    respond.add_argument(
        "--output", type=Path, default=Path("results/response"), metavar="DIR", help="where to"
    )
    add_kvm_option(respond)
    respond.add_argument(
        "--json", action="store_true", help="print the figures as JSON; progress goes to stderr"
    )
    respond.set_defaults(command=_respond)


def _add_report(commands: Commands) -> None:
    report = add_command(commands, "report", help="judge stored records again and rewrite the report")
    report.add_argument("directory", type=Path, metavar="DIR")
    report.add_argument("--json", action="store_true", help="print results.json instead of a table")
    report.set_defaults(command=_report)


def _add_export(commands: Commands) -> None:
    export = add_command(
        commands,
        "export-metrics",
        help="write the contract's metrics of any Prometheus as one tidy table",
    )
    export.add_argument(
        "--target",
        default="cluster",
        metavar="WHERE",
        help="cluster (its Prometheus forwarded to localhost:9090), a Prometheus URL, or a results folder of "
        f"a run made with --prometheus; twin is {DEFAULT_OUTPUT}",
    )
    export.add_argument("--duration", type=float, default=60.0, metavar="S", help="the last S seconds")
    export.add_argument(
        "--output", type=Path, default=Path("metrics.csv"), metavar="FILE", help=".csv or .parquet"
    )
    export.set_defaults(command=_export)


def _add_explore(commands: Commands) -> None:
    exploration = add_command(
        commands, "explore", help="serve a run's Prometheus data on loopback, with the queries"
    )
    exploration.add_argument("directory", type=Path, metavar="DIR", help="of a run made with --prometheus")
    exploration.set_defaults(command=_explore)


def _add_fuzz(commands: Commands) -> None:
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
    fuzz.epilog = "exit status: 0 within all bounds, 1 beyond one, 3 where errors leave it open"
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
        type=int,
        metavar="N",
        help="seeds at a time; by default one for each CPU, on twins two at most (with KVM one)",
    )
    fuzz.add_argument(
        "--resume", action="store_true", help="keep what is stored of these seeds, and run what is missing"
    )
    fuzz.add_argument("--output", type=Path, default=Path("results/fuzz"), metavar="DIR", help="where to")
    fuzz.add_argument("--json", action="store_true", help="print the summary; progress goes to stderr")
    add_guest_options(fuzz)
    fuzz.set_defaults(command=_fuzz)


def _add_steady(commands: Commands) -> None:
    steady = add_command(
        commands,
        "steady",
        help="make the same runs again and again, the last time on a busy machine, and compare the figures",
    )
    _add_single_options(steady)
    _add_run_options(steady)
    steady.set_defaults(command=_steady, repeats=3, more_repeats=0, output=Path("results/steady"))


def _add_volume_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--volume", default=DEFAULT_VOLUME, metavar="V", help="gp3, gp3:IOPS:MIBPS or io2:IOPS"
    )


def _add_single_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lp-pattern", choices=LP_PATTERNS, default="mixed", help="what the batch job does")
    parser.add_argument("--lp-block-kib", type=int, default=1024, metavar="KIB", help="its block size")
    parser.add_argument(
        "--more-repeats",
        type=int,
        default=2,
        metavar="N",
        help="how many to add, one at a time, where only the CPU keeps the verdict open",
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--load-level",
        choices=LOAD_LEVELS,
        help="offered load: "
        + ", ".join(f"{name} {rps:g}/s" for name, rps in LEVELS_RPS.items())
        + f"; none given, {_TWIN_LEVEL} on a twin and {_CLUSTER_LEVEL} on a cluster",
    )
    parser.add_argument("--rate", type=float, metavar="RPS", help="exact offered load, instead of a level")
    parser.add_argument(
        "--arrivals",
        choices=ARRIVALS,
        default="constant",
        help="constant, or poisson as independent users come",
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
    _add_volume_option(parser)
    parser.add_argument("--lp-workers", type=int, default=32, metavar="N", help="the batch job's queue depth")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of schedules and run order")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, metavar="DIR", help="where to")
    parser.add_argument("--json", action="store_true", help="print results.json; progress goes to stderr")
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


def _run(options: argparse.Namespace, console: Console) -> int:
    if options.workloads is not None:
        _refuse_beside_own_pods(options)
    if options.target == "cluster":
        return _on_cluster(options, console)
    return _experiment(options, console, scenarios(options.scenario))


def _refuse_beside_own_pods(options: argparse.Namespace) -> None:
    """Raise SpecError for an option that would be passed over in silence: it is about pods of ours."""
    asked = {
        "--target cluster": options.target == "cluster",
        "--prometheus": options.prometheus,
        "--lp-idle": options.lp_idle,
        "--lp-elsewhere": options.lp_elsewhere,
        f"--guests {options.guests}": options.guests not in (None, 1),
    }
    found = [option for option, is_asked in asked.items() if is_asked]
    if found:
        raise SpecError(
            f"{', '.join(found)} beside --workloads; expected none: own pods run on one twin, without ours",
            hint="leave it out",
        )


def _look(options: argparse.Namespace, console: Console) -> int:
    """Run the two scenarios whose difference is what control does; 0 unless a run is not sound."""
    status = _experiment(options, console, (scenario(CONTENTION), scenario(DRCIO)))
    return 0 if status == EXIT_CODES["inconclusive"] else status


def _compare(options: argparse.Namespace, console: Console) -> int:
    return _experiment(options, console, policy_scenarios(options.policies.split(",")))


def _sweep(options: argparse.Namespace, console: Console) -> int:
    batches = parse_batches(options.batches)
    spec = _spec_of(options, scenarios("all"))
    for batch in batches:
        _clear(options.output / batch.name)
    with Display(console, runs=runs_of(spec, batches)) as display:
        lane = display.lane()
        with twin_target(spec, _twin_options(options), lane) as target:
            sweep(
                spec,
                batches,
                lambda one: target.with_options(spec=one),
                options.output,
                lane,
                on_run=lane.run,
            )
    with console.status("drawing the reports"):
        reports = [build_report(options.output / batch.name) for batch in batches]
    print_sweep(console, options.output, batches)
    console.print(f"reports: {options.output}/*/report.html")
    return max(report.verdict.exit_code for report in reports)


def _spec_of(
    options: argparse.Namespace, arms: tuple[Scenario, ...], *, usual_level: str = _TWIN_LEVEL
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
        arrivals=options.arrivals,
    )


def _twin_options(options: argparse.Namespace) -> TwinOptions:
    return TwinOptions(
        output=options.output,
        cache=_REPOSITORY / ".cache",
        kvm=options.kvm,
        kernel=options.kernel,
        memory_mib=options.memory_mib,
        give_controller_volume=not options.volume_unknown,
        scrape=options.prometheus,
        lp_idle=options.lp_idle,
        lp_elsewhere=options.lp_elsewhere,
    )


def _experiment(options: argparse.Namespace, console: Console, arms: tuple[Scenario, ...]) -> int:
    spec = _spec_of(options, arms)
    output: Path = options.output
    twin_options = _twin_options(options)
    own = read_workloads(options.workloads) if getattr(options, "workloads", None) is not None else None
    _clear(output)
    write_spec(output, spec)
    if own is not None:
        return _own_workloads(spec, own, twin_options, console, as_json=options.json)
    runs = len(arms) * spec.repeats
    with Display(console, runs=runs) as display:
        lanes = display.lanes(_guests(options, runs))
        with twin_targets(spec, twin_options, lanes) as targets:
            shared = [(target, lane, lane.run) for target, lane in zip(targets, lanes, strict=False)]
            plan_and_run(
                spec, lambda planned: run_side_by_side(planned, shared, output), on_more=lanes[0].more
            )
    if options.prometheus:
        make_blocks(output, scrape_targets(lambda port: f"http://127.0.0.1:{port}"))
    return _print_report(output, console, as_json=options.json)


def _steady(options: argparse.Namespace, console: Console) -> int:
    spec = _spec_of(options, scenarios("all"))
    planned = same_runs(spec)
    _clear(options.output)
    with Display(console, runs=len(planned)) as display:
        lanes = display.lanes(_guests(options, len(planned)))
        with twin_targets(spec, _twin_options(options), lanes) as targets:
            shared = [(target, lane, lane.run) for target, lane in zip(targets, lanes, strict=False)]
            records = run_steady(planned, shared, options.output, busy_repeat=spec.repeats + 1)
    figures = steadiness(records, busy_repeat=spec.repeats + 1)
    write_json(options.output / "steady.json", {"figures": [figure.to_json() for figure in figures]})
    print_steadiness(console, figures)
    return 0 if all(figure.steady for figure in figures) else 1


def _guests(options: argparse.Namespace, runs: int) -> int:
    """Return how many emulated guests to run side by side; their figures do not depend on each other.

    With Prometheus one, for there is one set of its data.
    """
    if options.prometheus:
        return 1
    wanted: int = options.guests or len(os.sched_getaffinity(0))
    return max(1, min(wanted, MOST_GUESTS, runs))


def _respond(options: argparse.Namespace, console: Console) -> int:
    spec = response_spec(parse_volume(options.volume))
    twin_options = TwinOptions(
        output=options.output, cache=_REPOSITORY / ".cache", kvm=options.kvm, lp_elsewhere=True
    )
    with Display(console, runs=1) as display:
        lane = display.lane()
        with twin_target(spec, twin_options, lane) as target:
            document = respond(target, spec, parse_volume(options.changed_volume), lane)
    path = write_json(options.output / "response.json", document, compact=True)
    if options.json:
        print(json.dumps(document["figures"], indent=2), flush=True)
    else:
        print_response(console, document)
        console.print(f"raw data: {path}")
    return 0


def _on_cluster(options: argparse.Namespace, console: Console) -> int:
    """Take a stack through the scenarios; its own configuration says which volume it has."""
    if options.stack is None:
        raise SpecError("--target cluster needs a stack", hint="--stack NAME; `pulumi stack ls` shows them")
    if options.rate is not None:
        raise SpecError(f"--rate is {options.rate:g}; on a cluster expected a --load-level")
    output: Path = options.output
    stack = PulumiStack(ClusterOptions(stack=options.stack, output=output, program=_REPOSITORY))
    volume = volume_of(stack, _REPOSITORY)
    if options.volume not in (DEFAULT_VOLUME, str(volume)):
        raise SpecError(
            f"--volume is {options.volume}; stack {options.stack} has {volume}",
            hint="a live volume is not changed for an experiment: set drcio:storage, then pulumi up",
        )
    asked = _spec_of(options, scenarios(options.scenario), usual_level=_CLUSTER_LEVEL)
    spec = replace(asked, target="cluster", volume=volume, arrivals="poisson")  # as its Job sends it
    _clear(output)
    write_spec(output, spec)
    with Display(console, runs=len(plan_runs(spec))) as display:
        lane = display.lane()
        with deployed_as_configured(stack, spec, lane) as target:
            run_all(spec, target, output, lane, on_run=lane.run, on_more=lane.more)
    return _print_report(output, console, as_json=options.json)


def _own_workloads(
    spec: Spec, workloads: Sequence[Workload], options: TwinOptions, console: Console, *, as_json: bool
) -> int:
    """Run a user's own pods under the scenarios and show each pod's I/O; nothing is judged.

    A run that could not be measured, as a pod did not come up, is the last.
    """
    planned = plan_runs(spec)
    runs: list[JsonObject] = []
    with Display(console, runs=len(planned)) as display:
        lane = display.lane()
        with running(bare_twin(spec, options), report=lane.doing) as twin:
            node = Node(twin, spec.volume, give_controller_volume=options.give_controller_volume)
            target = OwnTarget(spec=spec, node=node, workloads=workloads, output=options.output)
            target.prepare(lane)
            for run in planned:
                lane.begin(run)
                document = target.run(run, lane)
                write_own_run(options.output, run.file_name, document)
                lane.end()
                runs.append(document)
                if not document["samples"]:
                    lane.note(f"a pod did not come up; runs left out: {len(planned) - len(runs)}")
                    break
    return _print_own(options.output, runs, console, as_json=as_json)


def _print_own(directory: Path, runs: Sequence[JsonObject], console: Console, *, as_json: bool) -> int:
    """Show runs of own pods; 1 where a pod failed."""
    if as_json:
        print(json.dumps([{**run, "samples": None} for run in runs], indent=2), flush=True)
    else:
        print_own_runs(console, runs, directory)
        console.print(f"pods' logs: {directory / PODS_FOLDER}; each run's samples: {directory / RUNS_FOLDER}")
    return own_status(runs)


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
        cache=_REPOSITORY / ".cache",
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


def _report(options: argparse.Namespace, console: Console) -> int:
    own = read_own_runs(options.directory)
    if own is not None:
        return _print_own(options.directory, own, console, as_json=options.json)
    return _print_report(options.directory, console, as_json=options.json)


def _export(options: argparse.Namespace, console: Console) -> int:
    folder = DEFAULT_OUTPUT if options.target == "twin" else Path(options.target)
    if options.target == "twin" or folder.is_dir():
        with exploring(folder) as (server, _):
            exported = export_metrics(
                server.url, options.duration, options.output, now_unix_s=_last_run_end_unix_s(folder)
            )
    else:
        url = CLUSTER_PROMETHEUS_URL if options.target == "cluster" else options.target
        exported = export_metrics(url, options.duration, options.output)
    console.print(f"{exported.path}: {exported.rows} rows of {', '.join(exported.metrics)}")
    if exported.missing:
        console.print(f"without a sample: {', '.join(exported.missing)}")
    return 0


def _last_run_end_unix_s(folder: Path) -> float:
    """Return when the last run of a results folder had ended: its data are old, "now" holds none."""
    last = read_runs(folder)[-1]
    return last.started_unix_s + last.warmup_s + last.duration_s


def _explore(options: argparse.Namespace, console: Console) -> int:
    explore(options.directory, show=console.print)
    return 0


def _print_report(directory: Path, console: Console, *, as_json: bool) -> int:
    with console.status("drawing the report") as status:
        report = build_report(directory, on_step=status.update)
    if as_json:
        with suppress(BrokenPipeError):  # `| head` is no error
            print(json.dumps(report.document, indent=2), flush=True)
    else:
        print_summary(console, report.study, report.verdict, policies=report.policies, report=report.html)
    return report.verdict.exit_code


def _clear(output: Path) -> None:
    """Remove an earlier experiment's records, so that none of them is judged with this one's."""
    for path in (output / RUNS_FOLDER).glob("*.json"):
        path.unlink()
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
