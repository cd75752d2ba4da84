"""Drive the load: a pacing thread decides when, an event loop sends.

The pacer is a thread because an event loop's timers are rounded up to whole milliseconds, and that
would be added to every latency.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from load_generator.client import Answer, Client
from load_generator.plan import Plan
from load_generator.record import LoadRecord
from load_generator.recorder import Recorder
from load_generator.schedule import request_ids, schedule

_NS_PER_US = 1000
_PROGRESS_INTERVAL_S = 1.0
_STOP_POLL_S = 0.1
_LEAD_S = 0.05
_DRAIN_MARGIN_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is."""

    phase: str
    """ready (waiting for the service), warmup, load, or drain (waiting for the last answers)."""
    elapsed_s: float
    """Of this phase."""
    phase_s: float
    """How long this phase takes; at most, for ready and drain."""
    sent: int = 0
    completed: int = 0
    failed: int = 0
    in_flight: int = 0


OnProgress = Callable[[Progress], None]


def generate(
    plan: Plan, *, on_progress: OnProgress = lambda _: None, stop: threading.Event | None = None
) -> LoadRecord:
    """Run a plan to its end and return its record; blocks, and may be called in any thread.

    Setting `stop` ends the load early: what is in flight is dropped, the record is marked `interrupted`.
    `on_progress` is called about once a second in the calling thread.
    """
    return asyncio.run(_generate(plan, on_progress, stop or threading.Event()))


async def _generate(plan: Plan, on_progress: OnProgress, stop: threading.Event) -> LoadRecord:
    client = Client(plan)
    try:
        await _wait_until_ready(client, plan.ready_timeout_s, on_progress, stop)
        # Another seed than the window's own, else a warm cache would be asked the same ids again.
        warmup_offsets = (
            schedule(plan.rate_rps, plan.warmup_s, ~plan.seed, plan.arrivals) if plan.warmup_s else ()
        )
        warmup_ids = request_ids(len(warmup_offsets), ~plan.seed, plan.ids_max)
        offsets = schedule(plan.rate_rps, plan.duration_s, plan.seed, plan.arrivals)
        ids = request_ids(len(offsets), plan.seed, plan.ids_max)

        warmup = Phase("warmup", client, warmup_offsets, warmup_ids, plan.warmup_s, on_progress, stop)
        load = Phase("load", client, offsets, ids, plan.duration_s, on_progress, stop)
        start_ns = time.monotonic_ns() + int(_LEAD_S * 1e9)
        await warmup.send(start_ns)
        # Not drained in between: the load goes on without a gap from the warm-up into the window.
        await load.send(start_ns + int(plan.warmup_s * 1e9))
        window_us = max(min(load.elapsed_us(), int(plan.duration_s * 1e6)), 0)
        # A little longer than a request may take, so that a late one ends as a time-out of its own.
        await load.drain(plan.timeout_s + _DRAIN_MARGIN_S)
        await warmup.drain(0)
        return load.recorder.record(
            plan,
            len(offsets),
            window_us=window_us,
            interrupted=stop.is_set(),
            warmup=warmup.recorder,
        )
    finally:
        await client.close()


async def _wait_until_ready(
    client: Client, timeout_s: float, on_progress: OnProgress, stop: threading.Event
) -> None:
    """Wait for the service, or return early when `stop` is set; raises `NotReady`."""
    probing = asyncio.ensure_future(client.wait_until_ready(timeout_s))
    begin_s = reported_s = time.monotonic()
    while not probing.done():
        if stop.is_set():
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
            return
        now_s = time.monotonic()
        if now_s - reported_s >= _PROGRESS_INTERVAL_S:
            reported_s = now_s
            on_progress(Progress(phase="ready", elapsed_s=now_s - begin_s, phase_s=timeout_s))
        await asyncio.wait([probing], timeout=_STOP_POLL_S)
    probing.result()


class Phase:
    """A schedule that is being sent."""

    def __init__(
        self,
        name: str,
        client: Client,
        offsets_us: tuple[int, ...],
        ids: tuple[int, ...],
        duration_s: float,
        on_progress: OnProgress,
        stop: threading.Event,
    ) -> None:
        self.recorder = Recorder()
        self._name = name
        self._client = client
        self._offsets_us = offsets_us
        self._ids = ids
        self._duration_s = duration_s
        self._on_progress = on_progress
        self._stop = stop
        self._start_ns = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def elapsed_us(self) -> int:
        """Return the time since this phase's start; negative before it."""
        return (time.monotonic_ns() - self._start_ns) // _NS_PER_US

    async def send(self, start_ns: int) -> None:
        """Send on schedule until the phase's end, by the monotonic clock."""
        self._start_ns = start_ns
        loop = asyncio.get_running_loop()
        paced = asyncio.Event()

        def fire(index: int) -> None:
            task = loop.create_task(self._request(index))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        def pace() -> None:
            for index, offset_us in enumerate(self._offsets_us):
                if not self._sleep_until(offset_us):
                    break
                loop.call_soon_threadsafe(fire, index)
            else:
                self._sleep_until(int(self._duration_s * 1e6))
            loop.call_soon_threadsafe(paced.set)

        pacer = threading.Thread(target=pace, name=f"pacer-{self._name}", daemon=True)
        pacer.start()
        while not paced.is_set():
            try:
                async with asyncio.timeout(_PROGRESS_INTERVAL_S):
                    await paced.wait()
            except TimeoutError:
                self._report(self._name, self.elapsed_us() / 1e6, self._duration_s)
        pacer.join()

    async def drain(self, timeout_s: float) -> None:
        """Wait for what is in flight; drop it when `stop` is set or the time is over."""
        begin_s = time.monotonic()
        reported_s = begin_s
        while self._tasks and not self._stop.is_set():
            now_s = time.monotonic()
            if now_s - begin_s >= timeout_s:
                break
            if now_s - reported_s >= _PROGRESS_INTERVAL_S:
                reported_s = now_s
                self._report("drain", now_s - begin_s, timeout_s)
            await asyncio.wait(set(self._tasks), timeout=_STOP_POLL_S)
        leftover = list(self._tasks)
        for task in leftover:
            task.cancel()
        await asyncio.gather(*leftover, return_exceptions=True)

    def _sleep_until(self, offset_us: int) -> bool:
        """Sleep to an offset in this phase; False when `stop` was set meanwhile."""
        wait_us = offset_us - self.elapsed_us()
        return not (self._stop.wait(wait_us / 1e6) if wait_us > 0 else self._stop.is_set())

    async def _request(self, index: int) -> None:
        scheduled_us = self._offsets_us[index]
        self.recorder.on_sent(max(self.elapsed_us() - scheduled_us, 0))
        try:
            answer = await self._client.score(self._ids[index])
        except asyncio.CancelledError:
            self.recorder.on_answer(scheduled_us, self.elapsed_us(), Answer(error="dropped", timings_us={}))
            raise
        self.recorder.on_answer(scheduled_us, self.elapsed_us(), answer)

    def _report(self, phase: str, elapsed_s: float, phase_s: float) -> None:
        recorder = self.recorder
        self._on_progress(
            Progress(
                phase=phase,
                elapsed_s=max(elapsed_s, 0.0),
                phase_s=phase_s,
                sent=recorder.sent,
                completed=recorder.completed,
                failed=recorder.errors.total(),
                in_flight=len(self._tasks),
            )
        )
