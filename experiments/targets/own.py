"""Run a user's own Pod manifests under the scenarios: what they do to the volume, and what they say.

There is no request of ours to time here, so nothing is judged. Each pod's I/O is measured; its logs
and what it writes under /results are the user's own evidence, and come back untouched.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from rich.console import Console
from rich.table import Table

from experiments.records.jsonfields import JsonObject, JsonValue
from experiments.records.record import RUNS_FOLDER
from experiments.records.spec import PlannedRun, Spec
from experiments.targets import Progress
from experiments.targets.node import READY_TIMEOUT_S, Node
from experiments.workloads import Workload
from node_twin.host.session import Twin
from node_twin.kubelet.config import results_of
from node_twin.layout import PODS_FOLDER
from node_twin.podstatus import phase_of

SCHEMA: Final = "drcio.own-run/1"
_MIB: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class OwnTarget:
    """A booted twin and the pods to run on it."""

    spec: Spec
    node: Node
    workloads: Sequence[Workload]
    output: Path
    """The twin's output folder, where pods' /results arrive and each run's are kept."""

    @property
    def _twin(self) -> Twin:
        return self.node.twin

    def run(self, planned: PlannedRun, progress: Progress) -> JsonObject:
        """Start the pods, the load sources last; wait for these (or the duration); measure; remove all."""
        progress.doing("emptying caches and queues")
        notes = self.node.clean()
        controller = self.node.controller(planned.scenario.policy)
        serving = [*([controller] if controller else []), *self._chosen(planned, load=False)]
        loads = self._chosen(planned, load=True)
        started: list[Workload] = []
        try:
            for workload in serving:
                progress.doing(f"starting {workload.name}")
                self._twin.create_pod(workload.manifest)
                started.append(workload)
            for workload in serving:
                progress.doing(f"waiting for {workload.name}")
                self._twin.wait_ready(workload.name, timeout_s=READY_TIMEOUT_S)
            for workload in loads:
                self._twin.create_pod(workload.manifest)
                started.append(workload)
            samples = self._measure(loads, progress)
            return {
                "schema": SCHEMA,
                "scenario": planned.scenario.name,
                "policy": planned.scenario.policy,
                "repeat": planned.repeat,
                "order": planned.order,
                "notes": notes,
                "pods": {workload.name: self._account(workload, samples) for workload in started},
                "samples": samples,
            }
        finally:
            progress.doing("removing the pods")
            for workload in reversed(started):
                self._twin.delete_pod(workload.name)
            self._twin.collect()
            keep_results(self.output, planned, [workload.name for workload in started])

    def _chosen(self, planned: PlannedRun, *, load: bool) -> list[Workload]:
        return [
            workload
            for workload in self.workloads
            if (workload.role == "load") is load and (workload.role != "lp" or planned.scenario.with_lp)
        ]

    def _measure(self, loads: Sequence[Workload], progress: Progress) -> list[JsonObject]:
        """Let it run: until every load source has finished, or for the duration where there is none."""
        progress.doing("measuring")
        total_s = self.spec.duration_s
        return self._twin.record(
            total_s if not loads else max(20 * total_s, READY_TIMEOUT_S),
            until_ended=[workload.name for workload in loads],
            tell=lambda elapsed_s: progress.within_run(min(elapsed_s, total_s), total_s),
        )

    def _phase(self, workload: Workload) -> str:
        pod = self._twin.pod(workload.name)
        return "gone" if pod is None else phase_of(pod)

    def _account(self, workload: Workload, samples: Sequence[JsonObject]) -> JsonObject:
        """Sum up what a pod did between the first and the last sample in which it was there."""
        seen = [
            (
                cast(float, sample["t_s"]),
                cast("Mapping[str, Mapping[str, JsonValue]]", sample["pods"])[workload.name],
            )
            for sample in samples
            if workload.name in cast("Mapping[str, JsonValue]", sample["pods"])
        ]
        account: dict[str, JsonValue] = {"role": workload.role, "phase": self._phase(workload)}
        if len(seen) > 1:
            (start_s, first), (end_s, last) = seen[0], seen[-1]
            seconds = end_s - start_s
            grown = {
                key: _total(last, key) - _total(first, key) for key in ("rbytes", "wbytes", "rios", "wios")
            }
            waited_us = _pressure_us(last) - _pressure_us(first)
            account |= {
                "seconds": round(seconds, 1),
                "read_mib_s": round(grown["rbytes"] / _MIB / seconds, 2),
                "write_mib_s": round(grown["wbytes"] / _MIB / seconds, 2),
                "ops_s": round((grown["rios"] + grown["wios"]) / seconds, 1),
                "io_wait_share": round(waited_us / 1e6 / seconds, 3),
                "io_weight": last.get("io_weight"),
            }
        return account


def keep_results(output: Path, planned: PlannedRun, pods: Iterable[str]) -> None:
    """Move what pods left under /results to the run's own folder, before a later run writes there."""
    kept = output / RUNS_FOLDER / Path(planned.file_name).stem
    for name in pods:
        left = results_of(output / PODS_FOLDER, name)
        if left.is_dir() and any(left.iterdir()):
            kept.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(kept / name, ignore_errors=True)
            left.rename(kept / name)
            left.parent.rmdir()


def print_own_runs(console: Console, runs: Sequence[JsonObject]) -> None:
    """Print one line a pod and run."""
    console.print("read and write in MiB/s; wait is the share of time spent waiting for I/O")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("run", "pod", "phase"):
        table.add_column(name)
    figures = {"read_mib_s": ".1f", "write_mib_s": ".1f", "ops_s": "", "io_wait_share": "", "io_weight": ""}
    for name in ("read", "write", "ops/s", "wait", "weight"):
        table.add_column(name, justify="right")
    for run in runs:
        for name, account in cast("Mapping[str, Mapping[str, JsonValue]]", run["pods"]).items():
            table.add_row(
                f"{run['scenario']} {run['repeat']}",
                name,
                str(account["phase"]),
                *(
                    format(account[figure], shown) if figure in account else "-"
                    for figure, shown in figures.items()
                ),
            )
    console.print(table)


def _total(pod: Mapping[str, JsonValue], key: str) -> int:
    devices = cast("Mapping[str, Mapping[str, int]]", pod["io"])
    return sum(counters.get(key, 0) for counters in devices.values())


def _pressure_us(pod: Mapping[str, JsonValue]) -> int:
    return cast("Mapping[str, int]", pod["io_pressure"])["some_us"]
