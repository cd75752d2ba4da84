"""Progress on the terminal: what is happening, how far, how long it will still take."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from experiments.judgement.reasons import Reason
from experiments.records.record import Cost, RunRecord
from experiments.records.spec import PlannedRun


class Display:
    """A live bar for each lane on a terminal; plain lines where output goes to a file or to CI."""

    def __init__(self, console: Console, *, runs: int) -> None:
        self.console = console
        self.live = console.is_terminal
        self.runs = runs
        self.done_runs = 0
        self._begun_s = time.monotonic()
        self.first_run_s: float | None = None
        self.counting = threading.Lock()
        self.bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not self.live,
        )

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bars.stop()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._begun_s

    def lane(self) -> Lane:
        """Return a line of its own for one target, or for what is done before there is any."""
        return Lane(self)

    def lanes(self, count: int) -> list[Lane]:
        """Return a line for each of several targets, numbered where there is more than one."""
        return [Lane(self, f"guest {number} " if count > 1 else "") for number in range(1, count + 1)]

    def left(self) -> str:
        if self.first_run_s is None or not self.done_runs:
            return ""
        per_run_s = (time.monotonic() - self.first_run_s) / self.done_runs
        left_s = max(per_run_s * (self.runs - self.done_runs), 0)
        return f"about {left_s / 60:.0f} min left" if left_s >= 90 else f"about {left_s:.0f} s left"


class Lane:
    """What one target is doing: its runs one after the other."""

    def __init__(self, display: Display, name: str = "") -> None:
        """`name` begins each of its lines."""
        self._display = display
        self._name = name
        self._run_text = f"{name}set-up"
        self._last_text = ""
        self._task = display.bars.add_task("starting", total=1.0, left="")

    def doing(self, what: str) -> None:
        """Show what is happening now."""
        display = self._display
        display.bars.update(self._task, description=f"{self._run_text}: {what}", left=display.left())
        if not display.live and what != self._last_text:
            self.note(f"[{display.elapsed_s:5.0f} s] {self._run_text}: {what}")
        self._last_text = what

    def within_run(self, elapsed_s: float, total_s: float) -> None:
        """Show how far the run under way is, by the node's clock."""
        share = min(elapsed_s / total_s, 1.0) if total_s else 0.0
        clock = f"{elapsed_s:.0f} of {total_s:.0f} s by the node's clock"
        left = self._display.left()
        self._display.bars.update(self._task, completed=share, left=f"{clock}; {left}" if left else clock)

    def begin(self, planned: PlannedRun) -> None:
        """Note that a run begins."""
        self.begin_run(f"run {planned.order}/{self._display.runs} {planned.scenario.name} r{planned.repeat}")

    def begin_run(self, text: str) -> None:
        """Note that a run of this name begins."""
        self._display.first_run_s = self._display.first_run_s or time.monotonic()
        self._run_text = f"{self._name}{text}"

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._display.console.print(text, markup=False, highlight=False)

    def end(self) -> None:
        """Note that the run under way has ended."""
        with self._display.counting:
            self._display.done_runs += 1
        self._display.bars.update(self._task, completed=0.0, left=self._display.left())

    def more(self, why: Reason, runs: int) -> None:
        """Note that a further repeat is made, and why."""
        self._display.runs += runs
        self._display.bars.update(self._task, left=self._display.left())
        self.note(f"one more repeat ({runs} runs), for {why.text}")

    def run(self, planned: PlannedRun, record: RunRecord | None) -> None:
        """Note that a run begins (no record yet), or has ended with this record."""
        if record is None:
            self.begin(planned)
            return
        self.end()
        fetch = record.load.timings.get("fetch")
        self.note(
            f"{self._run_text}: p95 {_ms(record.load.latency.p95_ms)}, "
            f"fetch p95 {_ms(fetch.p95_ms if fetch else None)}, "
            f"{record.load.completed} answered, {record.load.failed} failed"
            + ("" if record.cost is None else f"; {_cost(record.cost)}"),
        )


def _cost(cost: Cost) -> str:
    return (
        f"{cost.guest_s:.0f} s by the node's clock took {cost.host_s:.0f} s "
        f"({cost.host_s / cost.guest_s:.1f} each)"
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"
