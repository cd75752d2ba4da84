"""The loop that keeps the queue full, verifies what comes back, and stops on time.

One thread. Every operation passes through `_start_more` and `_finish`; they are written for few
bytecodes per operation, because under emulation a 3000-IOPS volume leaves 300 us of a CPU that is
twenty times slower.
"""

import os
import random
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lp_batch.arena import Arena
from lp_batch.dataset import DataSet
from lp_batch.engine import Completion
from lp_batch.errors import CorruptionError, IoFailure
from lp_batch.pacing import Pacer
from lp_batch.pages import PAGE_BYTES, BlockReader, BlockWriter, payload_pool
from lp_batch.patterns import Access, accesses
from lp_batch.plan import Plan
from lp_batch.stats import JobStats
from lp_batch.stop import StopRequest
from lp_batch.units import MIB
from lp_batch.volume import OpenVolume

_WAIT_S = 0.1
"""A signal that arrives just before a wait is seen after this long at the latest."""
_DRAIN_S = 0.4
"""After a stop was asked for, completions are awaited this long: the whole stop has a second."""
_RECENT_BLOCKS = 1024
_BURST_S = 0.1
_GENERATIONS = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    stop_reason: str
    """duration, num-operations, or what asked for the stop: sigterm, sigint."""
    elapsed_s: float
    abandoned: int
    """Operations still in flight when the job could wait no longer; they are counted nowhere else."""


class Job:
    """One run of a plan over an open volume.

    `generation_base` numbers this run's writes; let it differ from run to run, else a write that an
    earlier run made passes for one of this run's.
    """

    def __init__(
        self,
        plan: Plan,
        data: DataSet,
        volume: OpenVolume,
        arena: Arena,
        stats: JobStats,
        *,
        generation_base: int,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._plan = plan
        self._data = data
        self._engine = volume.engine
        self._stats = stats
        self._clock_ns = clock_ns
        self._accesses = accesses(plan.pattern, plan.blocks, plan.seed)
        self._rng = random.Random(plan.seed + 1)  # noqa: S311 - sampling, not secrets

        self._free = list(range(plan.workers))
        self._started_ns = [0] * plan.workers
        self._writing = [False] * plan.workers
        self._block = [0] * plan.workers
        self._generation = [0] * plan.workers
        # Two operations in flight on one block would make what a read must find uncertain.
        self._tracked = plan.pattern.writes
        self._busy: set[int] = set()
        self._readers = [BlockReader(buffer, data.data_set) for buffer in arena.read_buffers]
        self._writers: list[BlockWriter] = []
        if plan.pattern.writes:
            pool = payload_pool(plan.pages_per_block, plan.seed)
            self._writers = [
                BlockWriter(buffer, pool, slot, data.data_set)
                for slot, buffer in enumerate(arena.write_buffers)
            ]

        self._begin_ns = 0
        self._end_ns = 0
        self._issued = 0
        self._forgiven = 0
        self._pacer: Pacer | None = None
        if plan.rate_mib_s is not None:
            rate_bytes_s = plan.rate_mib_s * MIB
            self._pacer = Pacer(
                rate_bytes_s=rate_bytes_s,
                block_bytes=plan.block_bytes,
                burst_ops=max(plan.workers, int(rate_bytes_s * _BURST_S / plan.block_bytes)),
            )

        self._written = array("I", bytes(4 * plan.blocks if plan.pattern.writes else 0))
        """Generation that this run last wrote to each block, 0 for none."""
        self._next_generation = generation_base % _GENERATIONS or 1
        self._recent: deque[int] = deque(maxlen=_RECENT_BLOCKS)
        self._reads_back = plan.pattern.only_writes and plan.read_back_every > 0
        self._until_read_back = plan.read_back_every
        self._full_debt = 0.0

    def run(self, stop: StopRequest) -> str:
        """Work until a limit or a stop request; return which it was. Raises an `LpBatchError`."""
        self._begin_ns = self._end_ns = self._clock_ns()
        while (reason := self._reached(stop)) is None:
            self._start_more()
            self._engine.submit()
            self._finish(self._wait())
        self._drain(stop)
        return reason

    def outcome(self, stop_reason: str) -> Outcome:
        return Outcome(
            stop_reason=stop_reason,
            elapsed_s=(self._end_ns - self._begin_ns) / 1e9,
            abandoned=self._stats.active,
        )

    def _reached(self, stop: StopRequest) -> str | None:
        if stop.reason is not None:
            return stop.reason
        plan = self._plan
        if plan.num_operations is not None and self._issued >= plan.num_operations:
            return "num-operations"
        if plan.duration_s is not None and self._clock_ns() - self._begin_ns >= plan.duration_s * 1e9:
            return "duration"
        return None

    def _start_more(self) -> None:
        count = len(self._free)
        if self._plan.num_operations is not None:
            count = min(count, self._plan.num_operations - self._issued)
        if self._pacer is not None:
            elapsed_s = (self._clock_ns() - self._begin_ns) / 1e9
            budget, self._forgiven = self._pacer.budget(elapsed_s, self._issued, self._forgiven)
            count = min(count, budget)
        if count <= 0:
            return
        block_bytes = self._plan.block_bytes
        now_ns = self._clock_ns()
        for _ in range(count):
            write, block = self._next_access()
            slot = self._free.pop()
            if write:
                generation = self._next_generation
                self._next_generation = generation + 1 if generation < _GENERATIONS else 1
                self._generation[slot] = generation
                self._writers[slot].stamp(block * block_bytes // PAGE_BYTES, generation)
            self._writing[slot] = write
            self._block[slot] = block
            self._started_ns[slot] = now_ns
            self._engine.queue(slot, write, block * block_bytes)
        self._issued += count
        self._stats.active += count

    def _next_access(self) -> Access:
        plan = self._plan
        if not self._tracked:
            return next(self._accesses)
        if self._reads_back:
            self._until_read_back -= 1
            if self._until_read_back <= 0 and self._recent:
                block = self._recent[int(self._rng.random() * len(self._recent))]
                if block not in self._busy:
                    self._until_read_back = plan.read_back_every
                    self._busy.add(block)
                    return False, block
        write, block = next(self._accesses)
        while block in self._busy:
            block = (block + 1) % plan.blocks
        self._busy.add(block)
        return write, block

    def _wait(self) -> list[Completion]:
        wait_s = _WAIT_S
        if self._pacer is not None and self._free:
            elapsed_s = (self._clock_ns() - self._begin_ns) / 1e9
            wait_s = min(wait_s, self._pacer.wait_s(elapsed_s, self._issued, self._forgiven))
        if self._stats.active == 0:
            time.sleep(wait_s)
            return []
        return self._engine.reap(wait_s)

    def _finish(self, completions: list[Completion]) -> None:
        if not completions:
            return
        self._end_ns = now_ns = self._clock_ns()
        block_bytes = self._plan.block_bytes
        stats = self._stats
        for slot, moved in completions:
            stats.active -= 1
            block = self._block[slot]
            if moved != block_bytes:
                raise self._io_failure(slot, moved)
            latency_us = (now_ns - self._started_ns[slot]) // 1000
            if self._writing[slot]:
                stats.write.observe(block_bytes, latency_us)
                self._written[block] = self._generation[slot]
                self._recent.append(block)
            else:
                stats.read.observe(block_bytes, latency_us)
                self._verify(slot, block)
            if self._tracked:
                self._busy.discard(block)
            self._free.append(slot)

    def _verify(self, slot: int, block: int) -> None:
        self._full_debt += self._plan.verify_full_ratio
        full = self._full_debt >= 1
        pages = self._plan.pages_per_block
        fault = self._readers[slot].verify(
            block * pages,
            (self._written[block] or None) if self._written else None,
            sample=int(self._rng.random() * pages),
            full=full,
        )
        if fault is not None:
            raise CorruptionError(
                f"{self._data.path}: page {fault.page} (byte {fault.page * PAGE_BYTES}): "
                f"{fault.field} is {fault.found}; expected {fault.expected}",
                hint="the volume lost or mixed up data, or another job writes to the same --dir",
            )
        if full:
            self._full_debt -= 1
            self._stats.verified_full += 1
        else:
            self._stats.verified_sampled += 1

    def _io_failure(self, slot: int, moved: int) -> IoFailure:
        what = "write" if self._writing[slot] else "read"
        offset_bytes = self._block[slot] * self._plan.block_bytes
        found = os.strerror(-moved) if moved < 0 else f"moved {moved} bytes"
        return IoFailure(
            f"{what} of {self._plan.block_bytes} bytes at {offset_bytes} in {self._data.path}: {found}",
            hint="see the kernel log of the node for the device's errors",
        )

    def _drain(self, stop: StopRequest) -> None:
        """Wait for what is in flight; once a stop was asked for, no longer than it allows."""
        deadline_ns: int | None = None
        while self._stats.active:
            if stop.reason is not None:
                deadline_ns = deadline_ns or self._clock_ns() + int(_DRAIN_S * 1e9)
                if self._clock_ns() >= deadline_ns:
                    return
            self._engine.submit()
            self._finish(self._engine.reap(_WAIT_S))
