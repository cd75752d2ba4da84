"""What the job prints on standard error: one key=value line per event."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

from lp_batch.errors import LpBatchError
from lp_batch.stats import JobStats
from lp_batch.units import MIB

_PREPARE_INTERVAL_S = 1.0
_RUN_INTERVAL_S = 10.0


def log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def log_error(error: LpBatchError) -> None:
    log(f"error: {error}")
    if error.hint:
        log(f"hint: {error.hint}")


class PrepareProgress:
    """Logs once a second how much of the data file is written."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + _PREPARE_INTERVAL_S

    def report(self, done_bytes: int, total_bytes: int) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + _PREPARE_INTERVAL_S
            log(f"event=preparing done_mib={done_bytes // MIB} total_mib={total_bytes // MIB}")


@contextlib.contextmanager
def heartbeat(stats: JobStats) -> Iterator[None]:
    """Log every ten seconds how the run goes, from a thread: the loop has no time for it."""
    ended = threading.Event()

    def beat() -> None:
        before = stats.bytes
        while not ended.wait(_RUN_INTERVAL_S):
            now = stats.bytes
            log(
                f"event=running operations={stats.operations} "
                f"mib_s={(now - before) / MIB / _RUN_INTERVAL_S:.1f} active={stats.active}"
            )
            before = now

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
