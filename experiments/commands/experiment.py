"""`run`, `look` and `compare`: scenarios or policies on a node twin or a stack of the program, judged."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from experiments.commands.display import Display
from experiments.commands.options import (
    CLUSTER_ARRIVALS,
    CLUSTER_LEVEL,
    DEFAULT_VOLUME,
    REPOSITORY,
    add_run_options,
    add_single_options,
    guests_of,
    spec_of,
    twin_options_of,
)
from experiments.commands.run import plan_and_run, run_all, run_side_by_side
from experiments.commands.stored import clear, print_own, print_report
from experiments.errors import SpecError
from experiments.help import Commands, add_command
from experiments.judgement.verdict import EXIT_CODES
from experiments.metrics.prometheus import twin_targets as scrape_targets
from experiments.metrics.scraped import make_blocks
from experiments.records.jsonfields import JsonObject
from experiments.records.own import write_own_run
from experiments.records.spec import (
    CONTENTION,
    DRCIO,
    POLICIES,
    SCENARIOS,
    Scenario,
    Spec,
    plan_runs,
    policy_scenarios,
    scenario,
    scenarios,
)
from experiments.report import write_spec
from experiments.targets.cluster import PulumiStack, deployed_as_configured, volume_of
from experiments.targets.node import Node
from experiments.targets.own import OwnTarget
from experiments.targets.own_manifests import read_workloads
from experiments.targets.twin import TwinOptions, bare_twin, twin_targets
from experiments.workloads import Workload
from node_twin.host.session import running


def add_run(commands: Commands) -> None:
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
    add_single_options(run)
    add_run_options(run)
    run.set_defaults(command=_run)


def add_look(commands: Commands) -> None:
    look = add_command(
        commands,
        "look",
        help="run contention and drcio once each and short: what control does, at a glance, and no proof",
    )
    add_single_options(look)
    add_run_options(look)
    look.set_defaults(command=_look, repeats=1, more_repeats=0, duration=8.0, output=Path("results/look"))


def add_compare(commands: Commands) -> None:
    compare = add_command(
        commands,
        "compare",
        help="run several policies side by side on one twin",
    )
    compare.add_argument(
        "--policies", default=",".join(POLICIES), help="comma-separated; iomax-N caps at N%% of the volume"
    )
    compare.add_argument("--target", choices=("twin",), default="twin", help="where to run")
    add_single_options(compare)
    add_run_options(compare)
    compare.set_defaults(command=_compare)


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


def _experiment(options: argparse.Namespace, console: Console, arms: tuple[Scenario, ...]) -> int:
    spec = spec_of(options, arms)
    output: Path = options.output
    twin_options = twin_options_of(options)
    own = read_workloads(options.workloads) if getattr(options, "workloads", None) is not None else None
    clear(output)
    write_spec(output, spec)
    if own is not None:
        return _own_workloads(spec, own, twin_options, console, as_json=options.json)
    runs = len(arms) * spec.repeats
    with Display(console, runs=runs) as display:
        lanes = display.lanes(guests_of(options, runs))
        with twin_targets(spec, twin_options, lanes) as targets:
            plan_and_run(
                spec, lambda planned: run_side_by_side(planned, targets, lanes, output), on_more=lanes[0].more
            )
    if options.prometheus:
        make_blocks(output, scrape_targets(lambda port: f"http://127.0.0.1:{port}"))
    return print_report(output, console, as_json=options.json)


def _on_cluster(options: argparse.Namespace, console: Console) -> int:
    """Take a stack through the scenarios; its own configuration names its volume."""
    if options.stack is None:
        raise SpecError("--target cluster needs a stack", hint="--stack NAME; `pulumi stack ls` shows them")
    if options.rate is not None:
        raise SpecError(f"--rate is {options.rate:g}; on a cluster expected a --load-level")
    output: Path = options.output
    stack = PulumiStack(options.stack, output=output, program=REPOSITORY)
    volume = volume_of(stack, REPOSITORY)
    if options.volume not in (DEFAULT_VOLUME, str(volume)):
        raise SpecError(
            f"--volume is {options.volume}; stack {options.stack} has {volume}",
            hint="a live volume is not changed for an experiment: set drcio:storage, then pulumi up",
        )
    asked = spec_of(
        options,
        scenarios(options.scenario),
        usual_level=CLUSTER_LEVEL,
        usual_arrivals=CLUSTER_ARRIVALS,
    )
    spec = replace(asked, target="cluster", volume=volume)
    clear(output)
    write_spec(output, spec)
    with Display(console, runs=len(plan_runs(spec))) as display:
        lane = display.lane()
        with deployed_as_configured(stack, spec, lane) as target:
            run_all(spec, target, output, lane)
    return print_report(output, console, as_json=options.json)


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
    return print_own(options.output, runs, console, as_json=as_json)
