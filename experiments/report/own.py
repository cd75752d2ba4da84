"""What own pods did, on the terminal: a line a pod and run, against the same pod alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias, cast

from rich.console import Console

from experiments.records.jsonfields import JsonObject, JsonValue
from experiments.records.spec import BASELINE, SCENARIOS
from experiments.tables import plain_table
from experiments.workloads import CONTROLLER_POD

Account: TypeAlias = Mapping[str, JsonValue]

VOLUME_ROW: Final = "(volume)"
_LEGEND: Final = (
    "read, write: MiB/s; /alone: operations a second over this pod's in baseline",
    "ms/op: how long a pod waited for I/O for each operation, which is its latency",
    "where it has one at a time; of the volume it is the device's own latency",
)
_FIGURES: Final = {"read_mib_s": ".1f", "write_mib_s": ".1f", "ops_s": ".1f", "ms_per_op": ".2f"}


def own_status(runs: Sequence[JsonObject]) -> int:
    """Return 1 where a pod failed in any run, else 0."""
    return int(any("error" in account for run in runs for account in accounts_of(run).values()))


def print_own_runs(console: Console, runs: Sequence[JsonObject], output: Path) -> None:
    """Print what each pod did, what went wrong, and where the pods' own evidence lies."""
    for line in _LEGEND:
        console.print(line, markup=False)
    numbers = ("read", "write", "ops/s", "ms/op", "/alone", "weight")
    table = plain_table(("run", "pod", "phase"), numbers)
    ordered = sorted(runs, key=_place)
    for run in ordered:
        name = f"{run['scenario']} {run['repeat']}"
        for pod, account in accounts_of(run).items():
            if pod == CONTROLLER_POD:
                continue  # ours; it is in the record, and below where it failed
            phase, weight = str(account["phase"]), str(account.get("io_weight", "-"))
            table.add_row(name, pod, phase, *_cells(account), _of_alone(runs, run, pod), weight)
        if "volume" in run:
            volume = cast(Account, run["volume"])
            table.add_row(name, VOLUME_ROW, "", *_cells(volume), "", "", style="dim")
    console.print(table)
    for run in ordered:
        for pod, account in accounts_of(run).items():
            if "error" in account:
                line = f"{run['scenario']} {run['repeat']}: pod {pod}: {account['error']}"
                console.print(f"error: {line}; its log: {output / str(account.get('log', ''))}", markup=False)
    results = [output / str(a["results"]) for r in ordered for a in accounts_of(r).values() if "results" in a]
    for number, path in enumerate(results):
        lead = "" if number else "what the pods wrote to /results:"
        console.print(f"{lead:<32} {path}", markup=False)


def accounts_of(run: JsonObject) -> Mapping[str, Account]:
    return cast("Mapping[str, Account]", run["pods"])


def _place(run: JsonObject) -> tuple[int, int]:
    """Order by repeat, then by the order of the scenarios: runs are made in a drawn order."""
    scenario = str(run["scenario"])
    return cast(int, run["repeat"]), SCENARIOS.index(scenario) if scenario in SCENARIOS else len(SCENARIOS)


def _cells(account: Account) -> list[str]:
    return [
        format(account[figure], shown) if account.get(figure) is not None else "-"
        for figure, shown in _FIGURES.items()
    ]


def _of_alone(runs: Sequence[JsonObject], run: JsonObject, pod: str) -> str:
    """Return a pod's operations a second over those in baseline of the same repeat."""
    for other in runs:
        if (other["scenario"], other["repeat"]) == (BASELINE, run["repeat"]):
            alone = accounts_of(other).get(pod, {}).get("ops_s")
            here = accounts_of(run)[pod].get("ops_s")
            if alone and here is not None:
                return f"{cast(float, here) / cast(float, alone):.2f}"
    return "-"
