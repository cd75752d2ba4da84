"""The JSON that a run leaves: schema `drcio.lp/1`."""

import json
from pathlib import Path
from typing import TypedDict

from lp_batch.errors import EnvironmentFault
from lp_batch.job import Outcome
from lp_batch.plan import Plan
from lp_batch.stats import JobStats, OpStats, percentile_us
from lp_batch.threads import ThreadEngine
from lp_batch.units import MIB
from lp_batch.volume import OpenVolume

SCHEMA = "drcio.lp/1"


class Latency(TypedDict):
    """Milliseconds from submission to completion."""

    mean: float
    p50: float
    p95: float
    p99: float
    max: float


class Kind(TypedDict):
    operations: int
    bytes: int
    latency_ms: Latency


class Summary(TypedDict):
    schema: str
    pattern: str
    block_bytes: int
    num_workers: int
    file_bytes: int
    rate_mib_s: float | None
    seed: int
    engine: str | None
    """aio or threads; null where the run was stopped before it opened its file."""
    direct: bool
    notes: list[str]
    data_created: bool
    operations: int
    bytes: int
    elapsed_s: float
    mib_s: float
    ops_s: float
    latency_ms: Latency
    read: Kind
    write: Kind
    fsyncs: int
    verified_sampled: int
    verified_full: int
    abandoned: int
    cpu_s: float
    stop_reason: str
    error: str | None


def summarise(
    plan: Plan,
    volume: OpenVolume | None,
    stats: JobStats,
    outcome: Outcome,
    *,
    data_created: bool,
    cpu_s: float,
    error: str | None,
) -> Summary:
    """Sum up a run; `volume` is None where it ended before the file was open."""
    engine = None if volume is None else volume.engine
    elapsed_s = outcome.elapsed_s
    per_s = 1 / elapsed_s if elapsed_s > 0 else 0.0
    return Summary(
        schema=SCHEMA,
        pattern=plan.pattern.value,
        block_bytes=plan.block_bytes,
        num_workers=plan.workers,
        file_bytes=plan.file_bytes,
        rate_mib_s=plan.rate_mib_s,
        seed=plan.seed,
        engine=None if engine is None else engine.name,
        direct=volume is not None and volume.direct,
        notes=[] if volume is None else list(volume.notes),
        data_created=data_created,
        operations=stats.operations,
        bytes=stats.bytes,
        elapsed_s=round(elapsed_s, 4),
        mib_s=round(stats.bytes / MIB * per_s, 3),
        ops_s=round(stats.operations * per_s, 2),
        latency_ms=_latency(stats.both),
        read=_kind(stats.read),
        write=_kind(stats.write),
        fsyncs=engine.fsyncs if isinstance(engine, ThreadEngine) else 0,
        verified_sampled=stats.verified_sampled,
        verified_full=stats.verified_full,
        abandoned=outcome.abandoned,
        cpu_s=round(cpu_s, 3),
        stop_reason=outcome.stop_reason,
        error=error,
    )


def write_summary(path: Path, summary: Summary) -> None:
    """Write it whole or not at all."""
    draft = path.with_name(path.name + ".tmp")
    try:
        draft.write_text(json.dumps(summary, indent=2) + "\n")
        draft.rename(path)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot write the summary {path}: {error.strerror}", hint="give --summary a writable path"
        ) from error


def _kind(stats: OpStats) -> Kind:
    return Kind(operations=stats.operations, bytes=stats.bytes, latency_ms=_latency([stats]))


def _latency(stats: list[OpStats]) -> Latency:
    operations = sum(one.operations for one in stats)
    total_us = sum(one.latency_sum_us for one in stats)
    return Latency(
        mean=round(total_us / operations / 1000, 3) if operations else 0.0,
        p50=percentile_us(stats, 0.50) / 1000,
        p95=percentile_us(stats, 0.95) / 1000,
        p99=percentile_us(stats, 0.99) / 1000,
        max=max(one.latency_max_us for one in stats) / 1000,
    )
