"""The walk through everything on this machine: a cluster, three scenarios, a weight changed, the report.

It does what a user does by hand with `pulumi` and `kubectl`, and shows each command before its answer.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Final

from rich.console import Console

from drcio_controller.ebs import Volume
from experiments.records.record import write_run
from experiments.records.spec import SCENARIOS, Spec, plan_runs, scenarios
from experiments.report import build_report, print_summary, write_spec
from experiments.targets.cluster import ClusterTarget, Overrides
from load_generator.levels import level_rps
from local_cluster.cluster import CACHE, Cluster
from local_cluster.deploy import PROGRAMS, LocalStack
from local_cluster.images.prepare import Prepared
from local_cluster.programs import ROOT, Programs, find
from local_cluster.told import Told
from lp_batch.units import parse_size
from stacks.configuration.settings import Settings
from stacks.images import config_key

STACK: Final = "local"
OUTPUT: Final = ROOT / "results" / "tour"
CHANGED_WEIGHT: Final = 50
SHOWN: Final = ("scenario", "ioWeights", "p50_ms", "p95_ms", "fetch_p95_ms", "lp_mib_s", "verdict", "reasons")

Tell = Callable[[str], None]


def tour(cluster: Cluster, images: Prepared, console: Console, tell: Tell) -> int:
    """Walk through it on a cluster that is up; return the exit status of the three scenarios' verdict."""
    programs = find(PROGRAMS)
    _shown(["kubectl", "get", "nodes", "-o", "wide"], programs, cluster)
    folder = CACHE / "cluster" / "pulumi"
    shutil.rmtree(folder, ignore_errors=True)
    stack = LocalStack(STACK, programs, cluster.kubeconfig, folder)
    stack.configure({f"drcio:images.{config_key(name)}": it for name, it in images.references.items()})
    spec = spec_of(stack.settings(), cluster.options.volume)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    write_spec(OUTPUT, spec)
    target = ClusterTarget(_Showing(stack, tell), spec, name="tour")
    try:
        # As the story goes; an experiment that is to be judged strictly shuffles and repeats.
        for planned in sorted(plan_runs(spec), key=lambda run: SCENARIOS.index(run.scenario.name)):
            write_run(OUTPUT, target.run(planned, Told(tell)))
        tell(f"pulumi config set --path drcio:ioWeights.low {CHANGED_WEIGHT}; pulumi up")
        stack.configure({"drcio:ioWeights.low": CHANGED_WEIGHT})
        stack.up(_steps(tell))
        show_outputs(stack)
        _shown(["kubectl", "get", "pods", "--all-namespaces"], programs, cluster)
    finally:
        tell("pulumi destroy")
        stack.destroy(_steps(tell))
    report = build_report(OUTPUT)
    print_summary(console, report.study, report.verdict, policies=report.policies, report=report.html)
    return report.verdict.exit_code


def spec_of(settings: Settings, volume: Volume) -> Spec:
    """Return the experiment of the three scenarios as the stack's own file has it, once each."""
    return Spec(
        target="cluster",
        scenarios=scenarios("all"),
        load_level=settings.load_level,
        rate_rps=level_rps(settings.load_level),
        duration_s=settings.duration_seconds,
        warmup_s=settings.experiment.warmup_seconds,
        repeats=1,
        volume=volume,
        lp_pattern=settings.batch.pattern,
        lp_block_bytes=parse_size(settings.batch.block_size),
        lp_workers=settings.batch.workers,
        seed=settings.experiment.seed,
        arrivals=settings.experiment.arrivals,
    )


class _Showing:
    """A stack that shows its outputs whenever it was deployed."""

    def __init__(self, stack: LocalStack, tell: Tell) -> None:
        self._stack, self._tell = stack, tell
        self.configured, self.written = stack.configured, stack.written

    def deploy(self, overrides: Overrides, tell: Tell) -> None:
        self._tell(f"pulumi config set drcio:scenario {overrides['scenario']}; pulumi up")
        self._stack.deploy(overrides, _steps(self._tell))
        show_outputs(self._stack)


def show_outputs(stack: LocalStack) -> None:
    """Print the outputs that say what was measured."""
    outputs = stack.outputs()
    print("$ pulumi stack output")
    for name in SHOWN:
        if name in outputs:
            print(f"  {name:14} {json.dumps(outputs[name])}")


def _steps(tell: Tell) -> Tell:
    """Pass on what the engine has done, and what it waits for; not each of its dots."""
    said: set[str] = set()

    def step(line: str) -> None:
        text = line.strip()
        if text and not text.startswith("@") and text not in said:
            said.add(text)
            tell(text)

    return step


def _shown(command: list[str], programs: Programs, cluster: Cluster) -> None:
    """Run a command of the user's and print it with its answer."""
    print(f"$ {' '.join(command)}")
    program = programs[command[0]]
    subprocess.run([program, f"--kubeconfig={cluster.kubeconfig}", *command[1:]], check=False)
