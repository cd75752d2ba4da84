"""A mix on a node twin, in its virtual time: the shipped agent, the kernel's own controls, fio in pods.

One guest serves many arms and seeds: the volume takes each seed's figures while it runs, and between two arms
every knob and queue must be as on the fresh boot.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from experiments.fuzz.arms import ALONE, agent_config
from experiments.fuzz.measure import histogram, per_second, percentiles
from experiments.fuzz.mix import MEASURED_FROM_S, Mix
from experiments.fuzz.programs import FILE_BYTES, HIGH, LOG_PREFIX, high_pod, low_names, low_pods, memory_pod
from experiments.records.jsonfields import JsonObject, JsonValue
from experiments.records.spec import parse_volume
from experiments.targets import Progress
from experiments.targets.node import READY_TIMEOUT_S, Node
from experiments.targets.twin import checkout_commit
from experiments.workloads import CONTROLLER_POD, DATA_CLAIM
from node_twin.errors import TwinError
from node_twin.host.prepare import KvmChoice, TwinConfig
from node_twin.host.twin import Twin
from node_twin.kubelet.config import results_of
from node_twin.layout import PODS_FOLDER
from node_twin.tools import require_tools
from node_twin.volume.image import VolumeRequest

_VOLUME_BYTES: Final = 2 << 30
_FILES: Final = (HIGH, "low0", "low1", "low2")
_TAIL_S: Final = 1.0
"""What the programs run longer than is measured: they do not begin on the same instant."""
_PATIENCE_S: Final = 300.0
"""Of the guest's time for the protected program's last I/O, behind all that was in flight before it."""


def prepare_files(folder: Path) -> Path:
    """Write each program's file, once; none of it zeros, which would leave holes in the file system."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        path = folder / name
        if path.exists() and path.stat().st_size == FILE_BYTES:
            continue
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            for _ in range(FILE_BYTES >> 20):
                file.write(b"\xa5" * (1 << 20))
        part.rename(path)
    return folder


def fuzz_twin(output: Path, cache: Path, *, kernel: str, kvm: KvmChoice) -> TwinConfig:
    """Return a twin with the programs' files on its one volume, and nothing running.

    Raises MissingTool where this machine has no fio: the guest runs the machine's own.
    """
    require_tools("fio", "chrt")
    return TwinConfig(
        output=output,
        cache=cache / "twin",
        volumes=[
            VolumeRequest(
                claim=DATA_CLAIM,
                limits=parse_volume("gp3"),
                size_bytes=_VOLUME_BYTES,
                contents=prepare_files(cache / "fuzz"),
            )
        ],
        kernel=kernel,
        kvm=kvm,
    )


@dataclass(frozen=True, slots=True)
class OnTwin:
    """A booted twin on which arms are run, one after the other."""

    node: Node
    output: Path
    """The twin's output folder, where what pods write to /results arrives."""
    measured_s: float

    @property
    def _twin(self) -> Twin:
        return self.node.twin

    def run(self, mix: Mix, arm: str, progress: Progress) -> tuple[JsonObject, JsonObject]:
        """Return an arm's figures, and the raw data that they were computed from.

        Raises TwinError where an earlier arm left a knob turned or a queue filled. After an error the guest
        is as the error left it, and of no more use.
        """
        twin = self._twin
        begun_s, begun_guest_s = time.monotonic(), twin.now_s()
        progress.doing("emptying caches and queues")
        twin.set_limits(DATA_CLAIM, iops=mix.iops, mib_s=mix.mib_s)
        if notes := self.node.clean():
            raise TwinError(f"seed {mix.seed}, before {arm}: {'; '.join(notes)}")
        lows = [] if arm == ALONE else low_names(mix)
        self._start(mix, arm, progress)
        progress.doing("measuring")
        samples, host_files = self._measure(mix, len(lows), progress)
        # The agent first: its limits go with it, and what a job has in flight comes out sooner.
        progress.doing("removing the pods")
        for name in (CONTROLLER_POD, *lows, HIGH):
            twin.delete_pod(name)
        twin.collect()
        at_s, took_ms = self._logged()
        raw: JsonObject = {
            "measured_s": self.measured_s,
            "device": cast(JsonObject, twin.environment()["device_of_claim"])[DATA_CLAIM],
            "lows": lows,
            "at_s": [round(float(value), 6) for value in at_s],
            "took_ms": [round(float(value), 4) for value in took_ms],
            "samples": samples,
        }
        cost: JsonObject = {
            "guest_s": round(twin.now_s() - begun_guest_s, 1),
            "host_s": round(time.monotonic() - begun_s, 1),
        }
        return {
            **figures_of_raw(raw),
            "host_file_requests": host_files,
            "commit": checkout_commit(),
            "cost": cost,
        }, raw

    def stop(self) -> None:
        """End the guest at once; what waits for it in another thread fails."""
        self._twin.guest.stop()

    def environment(self) -> JsonObject:
        """Describe what was measured on."""
        guest = self._twin.environment()
        return {
            "accelerator": self._twin.accelerator,
            "clock": self._twin.clock,
            **{key: guest[key] for key in ("kernel", "cpus", "scheduler", "max_sectors_kb")},
        }

    def warm_up(self, mix: Mix) -> None:
        """Have the programs in the guest's memory, and run the protected one for a moment."""
        memory = memory_pod()
        self._twin.create_pod(memory)
        name = cast("Mapping[str, str]", memory["metadata"])["name"]
        if (phase := self._twin.wait_ended(name, timeout_s=_PATIENCE_S)) != "Succeeded":
            raise TwinError(f"copying fio into the guest's memory: {phase}\n{self._twin.log(name)}")
        self._twin.delete_pod(name)
        self._twin.create_pod(high_pod(mix, runtime_s=_TAIL_S, others=0))
        self._twin.wait_ended(HIGH, timeout_s=_PATIENCE_S)
        self._twin.delete_pod(HIGH)
        self._twin.collect()
        shutil.rmtree(results_of(self.output / PODS_FOLDER, HIGH).parent, ignore_errors=True)

    def _start(self, mix: Mix, arm: str, progress: Progress) -> None:
        """Start the agent and the yielding pods, which wait until they are let in."""
        config = agent_config(arm, mix.profile)
        if config is not None:
            progress.doing("starting the controller")
            agent = self.node.agent(config)
            self._twin.create_pod(agent.manifest)
            self._twin.wait_ready(agent.name, timeout_s=READY_TIMEOUT_S)
        if arm == ALONE:
            return
        progress.doing("starting the low-priority pods")
        for pod, name in zip(low_pods(mix, runtime_s=self._runtime_s), low_names(mix), strict=True):
            self._twin.create_pod(pod)
            self._twin.wait_ready(name, timeout_s=READY_TIMEOUT_S)

    @property
    def _runtime_s(self) -> float:
        return MEASURED_FROM_S + self.measured_s + _TAIL_S

    def _measure(self, mix: Mix, others: int, progress: Progress) -> tuple[list[JsonObject], int]:
        total_s = self._runtime_s
        return self._twin.record_pod(
            high_pod(mix, runtime_s=total_s, others=others),
            within_s=total_s + _PATIENCE_S,
            on_elapsed=lambda elapsed_s: progress.within_run(min(elapsed_s, total_s), total_s),
        )

    def _logged(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return when high priority's I/Os began, by the guest's monotonic clock, and what they took."""
        folder = results_of(self.output / PODS_FOLDER, HIGH)
        parts = [
            np.loadtxt(path, delimiter=",", usecols=(0, 1), ndmin=2)
            for path in sorted(folder.glob(f"{LOG_PREFIX}_lat.*.log"))
            if path.stat().st_size
        ]
        shutil.rmtree(folder.parent, ignore_errors=True)
        if not parts:
            raise TwinError(
                "the protected program logged no I/O", hint=f"look at its log in {self.output / PODS_FOLDER}"
            )
        ended_ms, took_ns = np.concatenate(parts).T
        took_ms = took_ns / 1e6
        at_s = (ended_ms - took_ms) / 1e3 - self._twin.unix_ahead_s()
        order = np.argsort(at_s, kind="stable")
        return at_s[order], took_ms[order]


def figures_of_raw(raw: JsonObject) -> JsonObject:
    """Return an arm's figures from what was recorded of it: each of high priority's I/Os, and the samples."""
    measured_s, device = cast(float, raw["measured_s"]), cast(str, raw["device"])
    lows = cast("list[str]", raw["lows"])
    began_s = np.array(cast("list[float]", raw["at_s"]))
    took_ms = np.array(cast("list[float]", raw["took_ms"]))
    at_s = began_s - began_s[0]
    inside = took_ms[(at_s >= MEASURED_FROM_S) & (at_s < MEASURED_FROM_S + measured_s)]
    samples = cast("list[JsonObject]", raw["samples"])
    from_s = float(began_s[0]) + MEASURED_FROM_S
    window = (from_s, from_s + measured_s)

    def low_per_s(*keys: str) -> float:
        each = (_grown(samples, window, partial(_io, pod, device, keys)) for pod in lows)
        return round(sum(each) / measured_s, 3)

    return {
        **percentiles(inside, measured_s),
        "low_ios_per_s": low_per_s("rios", "wios"),
        "low_bytes_per_s": low_per_s("rbytes", "wbytes"),
        "p95_each_s": per_second(at_s, took_ms, measured_s),
        "histogram": histogram(inside),
        "states": _states(samples, window),
        "cpu_wait_ratio": round(_grown(samples, window, _cpu_wait_s) / measured_s, 4),
    }


def _grown(
    samples: Sequence[JsonObject], window: tuple[float, float], counter: Callable[[JsonObject], float | None]
) -> float:
    """Return by how much a counter grew in a window, between samples in a straight line."""
    seen = [(cast(float, sample["t_s"]), counter(sample)) for sample in samples]
    known = [(t_s, value) for t_s, value in seen if value is not None]
    if len(known) < 2:
        return 0.0
    times, values = zip(*known, strict=True)
    start, end = np.interp(window, times, values)
    return float(end - start)


def _io(pod: str, device: str, keys: Sequence[str], sample: JsonObject) -> float | None:
    pods = cast("Mapping[str, Mapping[str, Mapping[str, Mapping[str, int]]]]", sample["pods"])
    if pod not in pods:
        return None
    counters = pods[pod]["io"].get(device, {})
    return sum(counters.get(key, 0) for key in keys)


def _cpu_wait_s(sample: JsonObject) -> float | None:
    pods = cast("Mapping[str, Mapping[str, Mapping[str, int]]]", sample["pods"])
    return pods[HIGH]["cpu_pressure"]["some_us"] / 1e6 if HIGH in pods else None


def _states(samples: Sequence[JsonObject], window: tuple[float, float]) -> JsonObject:
    """Count the states that the agent reported."""
    seen: Counter[str] = Counter()
    for sample in samples:
        status = cast("Mapping[str, Sequence[Mapping[str, JsonValue]]] | None", sample["controller"])
        if status is not None and window[0] <= cast(float, sample["t_s"]) <= window[1]:
            seen.update(str(device["state"]) for device in status["devices"])
    return dict(seen)
