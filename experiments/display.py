"""Progress on the terminal: what is happening, how far, how long it will still take."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from experiments.reasons import Reason
from experiments.record import RunRecord
from experiments.spec import PlannedRun


class Display:
    """A live bar on a terminal; plain lines where output goes to a file or to CI."""

    def __init__(self, console: Console, *, runs: int, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._live = console.is_terminal and not quiet
        self._runs = runs
        self._begun_s = time.monotonic()
        self._first_run_s: float | None = None
        self._done_runs = 0
        self._run_text = "set-up"
        self._last_text = ""
        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not self._live,
        )
        self._task = self._bars.add_task("starting", total=float(max(runs, 1)), left="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def doing(self, what: str) -> None:
        """Say what is happening now."""
        self._bars.update(self._task, description=f"{self._run_text}: {what}", left=self._left())
        if not self._live and not self._quiet and what != self._last_text:
            self._console.print(
                f"[{time.monotonic() - self._begun_s:5.0f} s] {self._run_text}: {what}",
                markup=False,
                highlight=False,
            )
        self._last_text = what

    def within_run(self, elapsed_s: float, total_s: float) -> None:
        """Say how far the run under way is."""
        share = min(elapsed_s / total_s, 1.0) if total_s else 0.0
        self._bars.update(self._task, completed=self._done_runs + share, left=self._left())

    def begin(self, planned: PlannedRun) -> None:
        """Note that a run begins."""
        self._first_run_s = self._first_run_s or time.monotonic()
        self._run_text = f"run {planned.order}/{self._runs} {planned.scenario.name} r{planned.repeat}"

    def end(self) -> None:
        """Note that the run under way has ended."""
        self._done_runs += 1
        self._bars.update(self._task, completed=float(self._done_runs), left=self._left())

    def more(self, why: Reason, runs: int) -> None:
        """Note that a further repeat is made, and why."""
        self._runs += runs
        self._bars.update(self._task, total=float(self._runs), left=self._left())
        if not self._quiet:
            self._console.print(
                f"one more repeat ({runs} runs), for {why.text}", markup=False, highlight=False
            )

    def run(self, planned: PlannedRun, record: RunRecord | None) -> None:
        """Note that a run begins (no record yet), or has ended with this record."""
        if record is None:
            self.begin(planned)
            return
        self.end()
        if not self._quiet:
            fetch = record.load.timings.get("fetch")
            self._console.print(
                f"{self._run_text}: p95 {_ms(record.load.latency.p95_ms)}, "
                f"fetch p95 {_ms(fetch.p95_ms if fetch else None)}, "
                f"{record.load.completed} answered, {record.load.failed} failed",
                markup=False,
                highlight=False,
            )

    def _left(self) -> str:
        if self._first_run_s is None or not self._done_runs:
            return ""
        per_run_s = (time.monotonic() - self._first_run_s) / self._done_runs
        left_s = max(per_run_s * (self._runs - self._done_runs), 0)
        return f"about {left_s / 60:.0f} min left" if left_s >= 90 else f"about {left_s:.0f} s left"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"
