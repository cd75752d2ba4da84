"""A thread that does one job at a time, for somebody who cannot wait for as long as it may take."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Writer(Generic[_T]):
    """Give it a job, then ask for the result; a job that does not end costs nobody else anything."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], _T] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[_T | BaseException] = queue.SimpleQueue()
        self.since_s: float | None = None
        """When the job began whose result nobody has taken yet."""
        # Daemon: the process must be able to end though a write does not.
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def start(self, job: Callable[[], _T]) -> None:
        """Begin a job; the result of the one before must have been taken."""
        if self.since_s is not None:
            raise RuntimeError("a writer does one job at a time")
        self.since_s = time.monotonic()
        self._jobs.put(job)

    def result(self, patience_s: float) -> _T | None:
        """Return the job's result, or None if it has not ended by then; raise what the job raised."""
        if self.since_s is None:
            return None
        try:
            result = self._results.get(timeout=patience_s) if patience_s > 0 else self._results.get_nowait()
        except queue.Empty:
            return None
        self.since_s = None
        if isinstance(result, BaseException):
            raise result
        return result

    def end(self) -> None:
        """End the thread, after its job."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._results.put(job())
            except BaseException as error:  # noqa: BLE001 - handed over to who asks for the result
                self._results.put(error)
