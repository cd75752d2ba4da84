"""Run a user's own Pod manifests under the scenarios: what they do to the volume, and what they log.

There is no request of ours to time here, so nothing is judged. Each pod's I/O is measured; its logs
and what it writes under /results are the user's own evidence, and come back untouched.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar, cast

from experiments.records.jsonfields import JsonObject, JsonValue
from experiments.records.record import OWN_RUN_SCHEMA, RUNS_FOLDER
from experiments.records.spec import PlannedRun, Spec
from experiments.targets import Progress
from experiments.targets.node import READY_TIMEOUT_S, Node
from experiments.workloads import Workload
from node_twin.errors import TwinError
from node_twin.host.twin import Twin
from node_twin.kubelet.config import results_of
from node_twin.layout import PODS_FOLDER
from node_twin.podstatus import failures_of, phase_of

_MIB: Final = 1 << 20
_T = TypeVar("_T")


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

    def prepare(self, progress: Progress) -> None:
        """Run each pod's init containers alone once: what they write is on the volume in every run then.

        In a run they find it there; in contention the same work takes many times as long. Raises TwinError
        where one fails.
        """
        for workload in self.workloads:
            manifest = only_init(workload.manifest)
            if manifest is None:
                continue
            progress.doing(f"preparing {workload.name}: its init containers, alone")
            self._twin.create_pod(manifest)
            try:
                self._twin.wait_ended(workload.name, timeout_s=READY_TIMEOUT_S)
                ended = outcome(self._twin.pod(workload.name))
            finally:
                self._twin.delete_pod(workload.name)
                self._twin.collect()
            if "error" in ended:
                raise TwinError(
                    f"pod {workload.name}: init {ended['error']}",
                    hint=f"its log is in {self.output / str(ended['log'])}",
                )

    def run(self, planned: PlannedRun, progress: Progress) -> JsonObject:
        """Start the pods, the load sources last; wait for these (or the duration); measure; remove all.

        What init containers do is over before anything is measured. A run in which a pod fails before
        that has no samples.
        """
        progress.doing("emptying caches and queues")
        notes = self.node.clean()
        controller = self.node.controller(planned.scenario.policy)
        serving = [*([controller] if controller else []), *self._chosen(planned, load=False)]
        loads = self._chosen(planned, load=True)
        started: list[Workload] = []
        samples: list[JsonObject] = []
        try:
            if self._started(serving, "ready", started, progress) and self._started(
                loads, "begun", started, progress
            ):
                samples = self._measure(loads, progress)
            pods = {workload.name: self._twin.pod(workload.name) for workload in started}
        finally:
            progress.doing("removing the pods")
            for workload in reversed(started):
                self._twin.delete_pod(workload.name)
            self._twin.collect()
            kept = keep_results(self.output, planned, [workload.name for workload in started])
        document: dict[str, JsonValue] = {
            "schema": OWN_RUN_SCHEMA,
            "scenario": planned.scenario.name,
            "policy": planned.scenario.policy,
            "repeat": planned.repeat,
            "order": planned.order,
            "notes": notes,
            "pods": {
                workload.name: {
                    "role": workload.role,
                    **outcome(pods[workload.name]),
                    **({"results": kept[workload.name]} if workload.name in kept else {}),
                    **pod_figures(samples, workload.name, skipped_s=self.spec.warmup_s),
                }
                for workload in started
            },
            "samples": samples,
        }
        if volume := volume_figures(samples, skipped_s=self.spec.warmup_s):
            document["volume"] = volume
        return document

    def _started(
        self,
        workloads: Sequence[Workload],
        state: Literal["ready", "begun"],
        started: list[Workload],
        progress: Progress,
    ) -> bool:
        """Start pods and wait for each; return whether all of them came up."""
        for workload in workloads:
            progress.doing(f"starting {workload.name}")
            self._twin.create_pod(workload.manifest)
            started.append(workload)
        for workload in workloads:
            progress.doing(f"waiting for {workload.name}")
            if failures_of(self._twin.await_start(workload.name, state, timeout_s=READY_TIMEOUT_S)):
                return False
        return True

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
            on_elapsed=lambda elapsed_s: progress.within_run(min(elapsed_s, total_s), total_s),
        )


def only_init(manifest: JsonObject) -> JsonObject | None:
    """Return a pod that does what another one's init containers do, and ends; None where it has none."""
    spec = cast("Mapping[str, JsonValue]", manifest.get("spec") or {})
    *before, last = cast("Sequence[JsonValue]", spec.get("initContainers") or (None,))
    if last is None:
        return None
    return {
        **manifest,
        "spec": {**spec, "initContainers": before, "containers": [last], "restartPolicy": "Never"},
    }


def outcome(pod: JsonObject | None) -> dict[str, JsonValue]:
    """Return how a pod is or ended, where its logs are in the output folder, and why it failed if it did."""
    if pod is None:
        return {"phase": "gone"}
    metadata = cast("Mapping[str, str]", pod["metadata"])
    logs = f"{PODS_FOLDER}/{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"
    found: dict[str, JsonValue] = {"phase": phase_of(pod), "log": logs}
    if failures := failures_of(pod):
        found["error"] = "; ".join(
            f"container {name} {why}" if name else why for name, why in failures.items()
        )
    return found


def pod_figures(samples: Sequence[JsonObject], name: str, *, skipped_s: float) -> dict[str, JsonValue]:
    """Sum up what a pod did from `skipped_s` after its first sample to its last; empty where that is none."""
    seen = [
        (cast(float, sample["t_s"]), cast("Mapping[str, Mapping[str, JsonValue]]", sample["pods"])[name])
        for sample in samples
        if name in cast("Mapping[str, JsonValue]", sample["pods"])
    ]
    seen = _after(seen, skipped_s)
    if len(seen) < 2:
        return {}
    (start_s, first), (end_s, last) = seen[0], seen[-1]
    seconds = end_s - start_s
    grown = {key: _total(last, key) - _total(first, key) for key in ("rbytes", "wbytes", "rios", "wios")}
    waited_s = (_pressure_us(last) - _pressure_us(first)) / 1e6
    return {
        **_rates(seconds, (grown["rbytes"], grown["wbytes"]), grown["rios"] + grown["wios"], 1e3 * waited_s),
        "read_ops_s": round(grown["rios"] / seconds, 1),
        "write_ops_s": round(grown["wios"] / seconds, 1),
        "io_wait_share": round(waited_s / seconds, 3),
        "io_weight": last.get("io_weight"),
    }


def volume_figures(samples: Sequence[JsonObject], *, skipped_s: float) -> dict[str, JsonValue]:
    """Sum up what the volumes did, and how long an operation took once the device had it."""
    seen = _after(
        [
            (cast(float, sample["t_s"]), cast("Mapping[str, Mapping[str, int]]", sample["device"]))
            for sample in samples
        ],
        skipped_s,
    )
    if len(seen) < 2:
        return {}
    (start_s, first), (end_s, last) = seen[0], seen[-1]
    seconds = end_s - start_s

    def grown(*keys: str) -> int:
        return sum(last[device][key] - first[device][key] for device in last for key in keys)

    moved = grown("read_bytes"), grown("write_bytes")
    return _rates(seconds, moved, grown("reads", "writes"), grown("read_ticks_ms", "write_ticks_ms"))


def _rates(
    seconds: float, moved_bytes: tuple[int, int], operations: int, waited_ms: float
) -> dict[str, JsonValue]:
    """Return what was read and written in so many seconds, and how long an operation took of `waited_ms`."""
    read, written = moved_bytes
    return {
        "seconds": round(seconds, 1),
        "read_mib_s": round(read / _MIB / seconds, 2),
        "write_mib_s": round(written / _MIB / seconds, 2),
        "ops_s": round(operations / seconds, 1),
        "ms_per_op": round(waited_ms / operations, 3) if operations else None,
    }


def _after(seen: list[tuple[float, _T]], skipped_s: float) -> list[tuple[float, _T]]:
    """Leave the first seconds out, unless hardly anything would be left."""
    later = [look for look in seen if look[0] >= seen[0][0] + skipped_s]
    return later if len(later) > 1 else seen


def keep_results(output: Path, planned: PlannedRun, pods: Iterable[str]) -> dict[str, str]:
    """Move what pods left under /results to the run's own folder, before a later run writes there.

    Returns where it is in the output folder, by pod.
    """
    folder = f"{RUNS_FOLDER}/{Path(planned.file_name).stem}"
    found = {}
    for name in pods:
        left = results_of(output / PODS_FOLDER, name)
        if left.is_dir() and any(left.iterdir()):
            kept = output / folder / name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(kept, ignore_errors=True)
            left.rename(kept)
            left.parent.rmdir()
            found[name] = f"{folder}/{name}"
    return found


def _total(pod: Mapping[str, JsonValue], key: str) -> int:
    devices = cast("Mapping[str, Mapping[str, int]]", pod["io"])
    return sum(counters.get(key, 0) for counters in devices.values())


def _pressure_us(pod: Mapping[str, JsonValue]) -> int:
    return cast("Mapping[str, int]", pod["io_pressure"])["some_us"]
