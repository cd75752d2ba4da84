"""Commands on the records that earlier ones stored: `report`, `export-metrics` and `explore`."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from rich.console import Console

from experiments.commands.options import DEFAULT_OUTPUT
from experiments.help import Commands, add_command
from experiments.metrics.export import export_metrics
from experiments.metrics.prometheus import explore, exploring
from experiments.records.jsonfields import JsonObject
from experiments.records.own import read_own_runs
from experiments.records.record import RUNS_FOLDER, read_runs
from experiments.report import build_report, print_summary
from experiments.report.own import own_status, print_own_runs
from node_twin.layout import PODS_FOLDER

CLUSTER_PROMETHEUS_URL: Final = "http://127.0.0.1:9090"
"""Where docs/how-to/observe.md forwards the cluster's Prometheus to."""


def add_report(commands: Commands) -> None:
    report = add_command(commands, "report", help="judge stored records again and rewrite the report")
    report.add_argument("directory", type=Path, metavar="DIR")
    report.add_argument("--json", action="store_true", help="print results.json instead of a table")
    report.set_defaults(command=_report)


def add_export(commands: Commands) -> None:
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


def add_explore(commands: Commands) -> None:
    exploration = add_command(
        commands, "explore", help="serve a run's Prometheus data on loopback, with the queries"
    )
    exploration.add_argument("directory", type=Path, metavar="DIR", help="of a run made with --prometheus")
    exploration.set_defaults(command=_explore)


def _report(options: argparse.Namespace, console: Console) -> int:
    own = read_own_runs(options.directory)
    if own is not None:
        return print_own(options.directory, own, console, as_json=options.json)
    return print_report(options.directory, console, as_json=options.json)


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


def print_report(directory: Path, console: Console, *, as_json: bool) -> int:
    with console.status("drawing the report") as status:
        report = build_report(directory, on_step=status.update)
    if as_json:
        with suppress(BrokenPipeError):  # `| head` is no error
            print(json.dumps(report.document, indent=2), flush=True)
    else:
        print_summary(console, report.study, report.verdict, policies=report.policies, report=report.html)
    return report.verdict.exit_code


def print_own(directory: Path, runs: Sequence[JsonObject], console: Console, *, as_json: bool) -> int:
    """Show runs of own pods; 1 where a pod failed."""
    if as_json:
        print(json.dumps([{**run, "samples": None} for run in runs], indent=2), flush=True)
    else:
        print_own_runs(console, runs, directory)
        console.print(f"pods' logs: {directory / PODS_FOLDER}; each run's samples: {directory / RUNS_FOLDER}")
    return own_status(runs)


def clear(output: Path) -> None:
    """Remove an earlier experiment's records, so that none of them is judged with this one's.

    The folder is made where there is none: that it cannot be, is said before anything else is done.
    """
    (output / RUNS_FOLDER).mkdir(parents=True, exist_ok=True)
    for path in (output / RUNS_FOLDER).glob("*.json"):
        path.unlink()
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
