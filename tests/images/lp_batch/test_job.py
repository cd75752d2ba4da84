import errno
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lp_batch.arena import Arena
from lp_batch.dataset import DataSet
from lp_batch.errors import CorruptionError, IoFailure
from lp_batch.job import Job
from lp_batch.pages import PAGE_BYTES, BlockWriter, payload_pool
from lp_batch.patterns import Pattern
from lp_batch.plan import Plan
from lp_batch.stats import JobStats
from lp_batch.stop import StopRequest
from lp_batch.volume import OpenVolume
from tests.images.lp_batch.memory import MemoryEngine

BLOCKS = 64
BLOCK_BYTES = 2 * PAGE_BYTES
PLAN = Plan(
    pattern=Pattern.MIXED,
    block_bytes=BLOCK_BYTES,
    workers=8,
    file_bytes=BLOCKS * BLOCK_BYTES,
    num_operations=500,
    duration_s=None,
    rate_mib_s=None,
    seed=1,
    verify_full_ratio=0.25,
    read_back_every=10,
    fsync_every=16,
)


class Bench:
    """A job on a volume in memory, with a clock that moves 1 ms per look."""

    def __init__(self, plan: Plan, *, clock_ns: Callable[[], int] | None = None) -> None:
        self.arena = Arena(plan.workers, plan.block_bytes)
        content = bytearray(plan.file_bytes)
        pool = payload_pool(plan.pages_per_block, 1)
        BlockWriter(memoryview(content), pool * (plan.file_bytes // len(pool) + 1), 0, 7).stamp(0, 1)
        self.engine = MemoryEngine(self.arena, content)
        self.stats = JobStats()
        self.stop = StopRequest()
        data = DataSet(path=Path("lp.dat"), file_bytes=plan.file_bytes, data_set=7, created=False)
        volume = OpenVolume(engine=self.engine, direct=True, notes=(), descriptors=())
        ticks = itertools.count(0, 1_000_000)
        self.job = Job(
            plan,
            data,
            volume,
            self.arena,
            self.stats,
            generation_base=1000,
            clock_ns=clock_ns or (lambda: next(ticks)),
        )


@pytest.mark.parametrize("pattern", Pattern)
def test_runs_the_number_of_operations_and_finishes_them(pattern: Pattern) -> None:
    bench = Bench(replace(PLAN, pattern=pattern))
    assert bench.job.run(bench.stop) == "num-operations"
    assert bench.stats.operations == 500
    assert bench.stats.bytes == 500 * BLOCK_BYTES
    assert bench.stats.active == 0
    assert bench.stats.verified_full + bench.stats.verified_sampled == bench.stats.read.operations
    bench.engine.close()


def test_keeps_the_queue_at_its_depth_and_no_deeper() -> None:
    bench = Bench(PLAN)
    bench.job.run(bench.stop)
    assert bench.engine.deepest == 8


def test_stops_after_the_duration() -> None:
    bench = Bench(replace(PLAN, num_operations=None, duration_s=0.5))
    assert bench.job.run(bench.stop) == "duration"
    assert 0.4 < bench.job.outcome("duration").elapsed_s < 0.6


def test_the_share_of_full_checks_is_what_was_asked() -> None:
    bench = Bench(replace(PLAN, pattern=Pattern.RANDOM_READ))
    bench.job.run(bench.stop)
    assert bench.stats.verified_full == 125


@pytest.mark.parametrize("pattern", [p for p in Pattern if p.only_writes])
def test_write_patterns_read_back_what_they_wrote(pattern: Pattern) -> None:
    bench = Bench(replace(PLAN, pattern=pattern))
    bench.job.run(bench.stop)
    assert 45 <= bench.stats.read.operations <= 50
    written: set[int] = set()
    for write, offset in bench.engine.log:
        if write:
            written.add(offset)
        else:
            assert offset in written


def test_without_read_back_a_write_pattern_only_writes() -> None:
    bench = Bench(replace(PLAN, pattern=Pattern.RANDOM_WRITE, read_back_every=0))
    bench.job.run(bench.stop)
    assert bench.stats.read.operations == 0


def test_no_two_operations_are_in_flight_on_one_block() -> None:
    # 16 blocks and 8 in flight: independent draws would collide at once, and a read that overtakes a
    # write of its block would look like corruption.
    bench = Bench(replace(PLAN, file_bytes=16 * BLOCK_BYTES, num_operations=2000))
    in_flight: set[int] = set()
    queue = bench.engine.queue

    def watched(slot: int, write: bool, offset_bytes: int) -> None:
        assert offset_bytes not in in_flight
        in_flight.add(offset_bytes)
        queue(slot, write, offset_bytes)

    def finished(_write: bool, offset: int, moved: int) -> int:
        in_flight.discard(offset)
        return moved

    bench.engine.queue = watched  # type: ignore[method-assign]
    bench.engine.tamper = finished
    assert bench.job.run(bench.stop) == "num-operations"


def test_a_lost_write_is_corruption() -> None:
    bench = Bench(replace(PLAN, pattern=Pattern.SEQUENTIAL_WRITE))
    old = bytes(bench.engine.content)

    def lose(write: bool, offset: int, moved: int) -> int:
        if write:
            bench.engine.content[offset : offset + moved] = old[offset : offset + moved]
        return moved

    bench.engine.tamper = lose
    with pytest.raises(CorruptionError, match=r"lp\.dat: page \d+ \(byte \d+\): generation is 1; expected 1"):
        bench.job.run(bench.stop)


def test_flipped_bits_are_corruption_even_in_read_patterns() -> None:
    bench = Bench(replace(PLAN, pattern=Pattern.SEQUENTIAL_READ, verify_full_ratio=1))
    bench.engine.content[5 * BLOCK_BYTES + 1000] ^= 4
    with pytest.raises(CorruptionError, match=r"page 10 .*payload checksum"):
        bench.job.run(bench.stop)
    assert bench.stats.verified_full == 5


@pytest.mark.parametrize(
    ("outcome", "message"),
    [(-errno.EIO, "Input/output error"), (PAGE_BYTES, "moved 4096 bytes"), (0, "moved 0 bytes")],
)
def test_failed_and_short_operations_are_errors(outcome: int, message: str) -> None:
    bench = Bench(replace(PLAN, pattern=Pattern.SEQUENTIAL_READ))
    bench.engine.tamper = lambda _write, offset, moved: outcome if offset == 3 * BLOCK_BYTES else moved
    with pytest.raises(IoFailure, match=rf"read of 8192 bytes at 24576 in lp\.dat: {message}"):
        bench.job.run(bench.stop)


def test_a_stop_request_ends_the_job_with_its_reason() -> None:
    bench = Bench(replace(PLAN, num_operations=None))
    looks = itertools.count()
    bench.engine.on_reap = lambda: bench.stop.ask("sigterm") if next(looks) == 50 else None
    assert bench.job.run(bench.stop) == "sigterm"
    assert bench.stats.active == 0
    assert bench.stats.operations >= 50


def test_a_stop_does_not_wait_for_a_volume_that_holds_everything_back() -> None:
    bench = Bench(replace(PLAN, num_operations=None))

    def hold() -> None:
        bench.engine.held = True
        bench.stop.ask("sigterm")

    bench.engine.on_reap = hold
    assert bench.job.run(bench.stop) == "sigterm"
    assert bench.job.outcome("sigterm").abandoned == 8


def test_the_rate_is_kept() -> None:
    # 1 MiB/s in blocks of 8 KiB is 128 a second; the clock moves 1 ms per look.
    bench = Bench(replace(PLAN, num_operations=None, duration_s=2.0, rate_mib_s=1.0))
    bench.engine.per_reap = 8
    bench.job.run(bench.stop)
    assert 240 <= bench.stats.operations <= 258


def test_the_same_seed_does_the_same_operations() -> None:
    logs = []
    for _ in range(2):
        bench = Bench(PLAN)
        bench.job.run(bench.stop)
        logs.append(bench.engine.log)
    assert logs[0] == logs[1]
