"""Collects what happens to the requests of one measured window."""

from collections import Counter
from dataclasses import dataclass, field

from load_generator.client import Answer
from load_generator.histogram import Histogram
from load_generator.plan import Plan
from load_generator.record import Interval, LoadRecord

_US_PER_S = 1_000_000


@dataclass
class _Second:
    errors: int = 0
    latencies_us: list[int] = field(default_factory=list)
    timings_us: dict[str, list[int]] = field(default_factory=dict)


class Recorder:
    """Plain lists while the load runs; histograms only at the end, when nobody waits for them."""

    def __init__(self) -> None:
        self.sent = 0
        self.completed = 0
        self.errors: Counter[str] = Counter()
        self._lags_us: list[int] = []
        self._last_answer_us = 0
        self._seconds: dict[int, _Second] = {}

    def on_sent(self, lag_us: int) -> None:
        self.sent += 1
        self._lags_us.append(lag_us)

    def on_answer(self, scheduled_us: int, finished_us: int, answer: Answer) -> None:
        """Count an answer; both times are offsets from the window's start."""
        second = self._seconds.setdefault(scheduled_us // _US_PER_S, _Second())
        if answer.error is not None:
            self.errors[answer.error] += 1
            second.errors += 1
            return
        self.completed += 1
        self._last_answer_us = max(self._last_answer_us, finished_us)
        second.latencies_us.append(finished_us - scheduled_us)
        for name, duration_us in answer.timings_us.items():
            second.timings_us.setdefault(name, []).append(duration_us)

    def record(
        self, plan: Plan, planned: int, *, window_us: int, interrupted: bool, warmup: "Recorder"
    ) -> LoadRecord:
        """Sum up; `window_us` is how much of the planned duration was sent, all of it unless interrupted."""
        intervals = tuple(
            Interval(
                t_s=t_s,
                errors=second.errors,
                latency=Histogram(second.latencies_us),
                timings={name: Histogram(values) for name, values in second.timings_us.items()},
            )
            for t_s, second in sorted(self._seconds.items())
        )
        latency = Histogram()
        timings: dict[str, Histogram] = {}
        for interval in intervals:
            latency.add(interval.latency)
            for name, histogram in interval.timings.items():
                timings.setdefault(name, Histogram()).add(histogram)
        busy_us = max(window_us, self._last_answer_us, 1)
        return LoadRecord(
            plan=plan,
            planned=planned,
            sent=self.sent,
            window_s=window_us / _US_PER_S,
            errors=dict(self.errors),
            achieved_rps=self.completed * _US_PER_S / busy_us,
            latency=latency,
            lag=Histogram(self._lags_us),
            timings=timings,
            intervals=intervals,
            warmup_sent=warmup.sent,
            warmup_errors=dict(warmup.errors),
            interrupted=interrupted,
        )
