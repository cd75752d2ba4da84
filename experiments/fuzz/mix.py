"""The distribution: what a seed stands for. Plain data, drawn once, with a JSON form.

A mix is a volume, one high-priority program and one to three low-priority ones, each in a pod of some
QoS class. It is wide on purpose, and this module is its documentation:

- The volume: gp3's two figures from 500 IOPS and 30 MiB/s to 16000 and 1000, log-uniform; at most a
  quarter of a MiB/s for each I/O per second, as EBS has it.
- High priority is a service, not a hog: by itself it needs 2 to 35% of the volume, log-uniform. It comes
  in one of six kinds; the pause between its I/Os is what makes its load so much.
- Low priority takes what it gets: a stream of reads, writes or both, 4 KiB to 4 MiB, 1 to 128 in flight,
  from one thread (libaio) or many, or buffered writes with an fsync after each 1 to 64 MiB; a third of
  them stop and go, 1 to 30 s each.
- Every pod's QoS class is drawn by itself, so the protected pod is inside, beside or outside of the
  slice that its neighbours are in.
"""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final, cast

from drcio_controller.config import VolumeProfile
from drcio_controller.kube.pod import QosClass
from experiments.records.jsonfields import JsonObject

KIB: Final = 1 << 10
MIB: Final = 1 << 20
UNIT_BYTES: Final = 256 * KIB

LOW_STARTS_S: Final = 2.0
MEASURED_FROM_S: Final = 4.0
"""Two seconds after low priority began: what an arm needs to settle is reported by itself."""
MEASURED_S: Final = 30.0
"""Simulated, where a second costs next to nothing."""
TWIN_MEASURED_S: Final = 12.0
"""On a twin, where a busy second costs the host two to ten: several hundred of high priority's I/Os on most
seeds. A job that stops and goes by tens of seconds is seen in its first turn only."""

IN_FLIGHT_LIMIT_BYTES: Final = 128 * MIB
"""Of one job: more would be the guest's memory, not the volume's queue."""
BURST_LIMIT_S: Final = 0.05
"""A burst of high priority takes the volume at most so long: longer, and it waits for itself alone."""
BASE_S: Final = 0.0006


class HighKind(StrEnum):
    """What the protected service does."""

    STEADY = "steady"
    BURSTY = "bursty"
    LARGE = "large"
    MIXED = "mixed"
    LOG = "log"
    """A commit log: each small write is waited for, by one thread."""
    THREADS = "threads"


class Engine(StrEnum):
    """How a program submits, in fio's terms."""

    LIBAIO = "libaio"
    THREADS = "threads"
    BUFFERED = "buffered"


@dataclass(frozen=True, slots=True, kw_only=True)
class High:
    """The protected program: each of its threads does a burst, waits for all of it, and pauses."""

    kind: HighKind
    qos: QosClass
    block_bytes: int
    read_percent: int
    threads: int
    burst: int
    think_s: float
    load_ratio: float
    """Of the volume, by itself; what `think_s` was computed from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Low:
    """One yielding program."""

    engine: Engine
    qos: QosClass
    block_bytes: int
    read_percent: int
    sequential: bool
    depth: int
    """In flight: by one thread with libaio, by as many threads else; buffered: 1."""
    fsync_bytes: int = 0
    """Buffered: what is written before each fsync."""
    on_s: float = 0.0
    off_s: float = 0.0
    """0: never stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """One seed's work and where it happens."""

    seed: int
    iops: int
    mib_s: int
    high: High
    low: tuple[Low, ...]

    @property
    def profile(self) -> VolumeProfile:
        return VolumeProfile(iops=self.iops, mib_s=self.mib_s)

    def to_json(self) -> JsonObject:
        return cast(JsonObject, asdict(self))


def draw(seed: int) -> Mix:
    """Return what a seed stands for; the same for ever, or results could not be compared."""
    rng = random.Random(f"drcio.fuzz/1/{seed}")  # noqa: S311 - a load, not a secret
    iops = round(_log_uniform(rng, 500, 16_000), -2)
    mib_s = max(30, min(1000, round(iops * _log_uniform(rng, 0.03, 0.25))))
    volume = VolumeProfile(iops=int(iops), mib_s=mib_s)
    high = _high(rng, volume)
    low = tuple(_low(rng) for _ in range(rng.choice((1, 1, 2, 3))))
    return Mix(seed=seed, iops=volume.iops, mib_s=mib_s, high=high, low=low)


def io_s(volume: VolumeProfile, block_bytes: int) -> float:
    """Return how long a volume is busy with one I/O: it has two limits, and one of them binds."""
    units = math.ceil(block_bytes / UNIT_BYTES)
    return max(units / volume.iops, block_bytes / volume.bytes_per_s)


def _high(rng: random.Random, volume: VolumeProfile) -> High:
    kind = rng.choice(list(HighKind))
    load = _log_uniform(rng, 0.02, 0.35)
    threads, burst, read_percent = 1, 1, 100
    match kind:
        case HighKind.STEADY:
            block, threads = rng.choice((4, 8, 16)) * KIB, rng.choice((1, 2))
        case HighKind.BURSTY:
            block, burst = rng.choice((4, 8, 16)) * KIB, rng.randint(8, 48)
        case HighKind.LARGE:
            block, burst = rng.choice((128, 256, 512, 1024)) * KIB, rng.randint(1, 4)
        case HighKind.MIXED:
            block, burst, read_percent = rng.choice((4, 16, 64)) * KIB, rng.randint(2, 16), 70
        case HighKind.LOG:
            block, read_percent = rng.choice((4, 8, 16)) * KIB, 0
        case HighKind.THREADS:
            block, threads = rng.choice((4, 8, 32)) * KIB, rng.randint(8, 32)
    cost_s = io_s(volume, block)
    burst = max(1, min(burst, int(BURST_LIMIT_S / cost_s)))
    think_s = max(0.001, threads * burst * cost_s / load - BASE_S)
    return High(
        kind=kind,
        qos=rng.choice(list(QosClass)),
        block_bytes=block,
        read_percent=read_percent,
        threads=threads,
        burst=burst,
        think_s=round(think_s, 6),
        load_ratio=round(load, 4),
    )


def _low(rng: random.Random) -> Low:
    engine = rng.choice((Engine.LIBAIO, Engine.LIBAIO, Engine.THREADS, Engine.THREADS, Engine.BUFFERED))
    qos = rng.choice(list(QosClass))
    on_s, off_s = 0.0, 0.0
    if rng.random() < 1 / 3:
        on_s, off_s = round(_log_uniform(rng, 1, 30), 2), round(_log_uniform(rng, 1, 30), 2)
    if engine is Engine.BUFFERED:
        return Low(
            engine=engine,
            qos=qos,
            block_bytes=MIB,
            read_percent=0,
            sequential=True,
            depth=1,
            fsync_bytes=rng.choice((1, 4, 16, 64)) * MIB,
            on_s=on_s,
            off_s=off_s,
        )
    block = rng.choice((4, 16, 64, 256, 1024, 4096)) * KIB
    most = 128 if engine is Engine.LIBAIO else 32
    depth = round(_log_uniform(rng, 1, most))
    return Low(
        engine=engine,
        qos=qos,
        block_bytes=block,
        read_percent=rng.choice((100, 0, 50)),
        sequential=rng.random() < 0.5,
        depth=max(1, min(depth, IN_FLIGHT_LIMIT_BYTES // block)),
        on_s=on_s,
        off_s=off_s,
    )


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
