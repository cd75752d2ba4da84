"""Find out from a run's record whether it measured what it was meant to measure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import get_args

from drcio_controller.ebs import Volume
from experiments.judgement import account, series
from experiments.judgement.figures import Engine, Health, LpFigures
from experiments.judgement.kernelfiles import device_fields
from experiments.records.record import RunRecord, Sample


def health_of(record: RunRecord, volume: Volume, moved: series.Growth, lp: LpFigures) -> Health:
    """Gather what shows whether a run was sound."""
    lp_pods, hp_pods = record.pods_of("lp"), record.pods_of("hp")
    window = [sample for sample in record.samples if 0 <= sample.t_s <= record.duration_s]
    hp_devices = record.devices.hp

    def on_hp_devices(pods: Sequence[str]) -> float:
        counter = series.pods_counter(pods, lambda pod: series.pod_bytes(pod, hp_devices))
        return series.growth_in_run(record, counter).delta

    covered = series.growth_in_run(record, lambda sample: 0)
    controllers = [sample.controller for sample in window if sample.controller is not None]
    states = Counter(
        state for entry in controllers if (state := account.of_device(entry, hp_devices, "state")) is not None
    )
    inert = sum(account.is_inert(entry, hp_pods, hp_devices) for entry in controllers)
    return Health(
        completed=record.load.completed,
        failed_by_kind={kind: count for kind, count in record.load.errors.items() if count},
        sent_share=record.load.sent / record.load.planned if record.load.planned else 0.0,
        fell_behind=record.load.fell_behind,
        lag_p99_ms=record.load.lag_p99_ms,
        sampled_share=covered.seconds / record.duration_s,
        hp_moved_bytes=round(on_hp_devices(hp_pods)),
        lp_present=any(name in sample.pods for sample in window for name in lp_pods),
        lp_active_share=moved.active_seconds / record.duration_s,
        lp_volume_share=max(lp.mib_s / volume.mib_s, lp.ops_s / volume.iops),
        lp_shared_share=on_hp_devices(lp_pods) / moved.delta if moved.delta > 0 else None,
        hp_cpu_wait_share=series.worst_pod_share(record, hp_pods, lambda pod: pod.cpu_pressure.some_us),
        hp_throttled_share=series.worst_pod_share(record, hp_pods, lambda pod: pod.throttled_us),
        hp_restarts=sum(record.pods[name].restarts for name in hp_pods),
        lp_restarts=sum(record.pods[name].restarts for name in lp_pods),
        engine=_engine(window, hp_devices, lp_pods),
        hp_weight=_median_weight(window, hp_pods),
        lp_weight=_median_weight(window, lp_pods),
        controller_share=len(controllers) / len(window) if window else 0.0,
        controller_state=states.most_common(1)[0][0] if states else None,
        controller_inert_share=inert / len(controllers) if controllers else 0.0,
        interrupted=record.interrupted,
    )


def _engine(window: Sequence[Sample], devices: Sequence[str], lp_pods: Sequence[str]) -> Engine:
    """Name the engine that was in force on the service's device in most samples."""
    seen: Counter[Engine] = Counter(_engine_of(sample, devices, lp_pods) for sample in window)
    for engine, count in seen.items():
        if count * 2 > len(window):
            return engine
    return "none"


def _engine_of(sample: Sample, devices: Sequence[str], lp_pods: Sequence[str]) -> Engine:
    if (device_fields(sample.qos, devices) or {}).get("enable") == "1":
        return "iocost"
    if any(_is_bfq(sample.device[device].scheduler) for device in devices if device in sample.device):
        return "bfq"
    if any(sample.io_max.get(pod, "").strip() for pod in lp_pods):
        return "iomax"
    if not sample.device and sample.controller is not None:
        # Measured where no kernel file can be read: the controller's word has to do.
        said = account.of_device(sample.controller, devices, "engine")
        return next((engine for engine in get_args(Engine) if engine == said), "none")
    return "none"


def _is_bfq(scheduler: str) -> bool:
    """Take both a bare name and the kernel's list, which marks the one in use: `none [bfq]`."""
    return scheduler == "bfq" or "[bfq]" in scheduler


def _median_weight(window: Sequence[Sample], pods: Sequence[str]) -> int | None:
    weights = [
        weight
        for sample in window
        for name in pods
        if name in sample.pods and (weight := sample.pods[name].io_weight) is not None
    ]
    return round(statistics.median(weights)) if weights else None
