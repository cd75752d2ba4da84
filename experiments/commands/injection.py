"""Try the judgement on experiments whose truth is known: `python -m experiments.commands.injection`.

A simulated target makes requests of four parts (computing, the rest of the CPU's work, the fetch's own
CPU work, the disk) and gives the records that a target would. What the volume does and what takes the
CPU away are put in apart from each other, so that for each combination it is known what may be said:
a promise that was kept must not fail, one that was not kept must not pass. The table that this prints
is part of docs/explanation/judgement.md.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from experiments.commands.run import plan_and_run
from experiments.judgement.figures import MIB
from experiments.judgement.reasons import Outcome
from experiments.judgement.study import study
from experiments.judgement.testing import Behaviour, behaviour_of, build_run_around
from experiments.judgement.verdict import judge
from experiments.records.record import RunRecord
from experiments.records.spec import BASELINE, CONTENTION, DRCIO, PlannedRun, Spec, parse_volume
from experiments.targets import Progress
from load_generator.document import LatencySummary, LoadDocument

RUNS: Final = 50

_NORMAL: Final = tuple(statistics.NormalDist().inv_cdf((index + 0.5) / 2000) for index in range(2000))


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a request: log-normal around a median."""

    median_ms: float
    shapes: tuple[float, ...]
    """Values to draw from, in medians."""

    @classmethod
    def of(cls, median_ms: float, sigma: float) -> Part:
        return cls(median_ms, tuple(math.exp(sigma * normal) for normal in _NORMAL))


_COMPUTE: Final = Part.of(25.0, 0.15)
_REST: Final = Part.of(8.0, 0.2)
_FETCH_CPU: Final = Part.of(1.5, 0.3)
_DISK: Final = Part.of(2.0, 0.4)
_WORK_SHARE: Final = 0.35
"""Of one CPU: what ten such requests a second take of it."""
_FETCH_SLOWS: Final = 1.3
"""A read changes hands between several threads: it suffers more from a full CPU than computing does."""
_RUN_SPREAD: Final = 0.03
"""What two quiet runs differ by, in every part."""
_VOLUME_LP_MIB_S: Final = 119.0
_CPU_LP_MIB_S: Final = 150.0
"""What an emulated CPU lets the batch job move at most, with nobody beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the volume does, whatever the CPU does."""

    name: str
    contended: float
    """How many times as long the disk takes beside the uncontrolled batch job."""
    controlled: float
    """The same under DRC-IO."""
    lp_share: float
    """The batch job's throughput under DRC-IO over uncontrolled."""
    allowed: frozenset[Outcome]
    """Right verdicts; to leave it undecided is never wrong."""


_UNDECIDED: Final[frozenset[Outcome]] = frozenset(("inconclusive", "invalid"))
TRUTHS: Final = (
    Truth(name="control works", contended=140, controlled=1.3, lp_share=0.92, allowed=_UNDECIDED | {"pass"}),
    Truth(name="control broken", contended=140, controlled=70, lp_share=0.97, allowed=_UNDECIDED | {"fail"}),
    Truth(name="control too weak", contended=140, controlled=9, lp_share=0.95, allowed=_UNDECIDED | {"fail"}),
    Truth(
        name="batch job starved", contended=140, controlled=1.2, lp_share=0.6, allowed=_UNDECIDED | {"fail"}
    ),
    Truth(name="no contention", contended=1.2, controlled=1.1, lp_share=0.95, allowed=_UNDECIDED),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it runs: what can take its CPU, and what of it is recorded."""

    name: str
    clock: Literal["real", "virtual"] = "real"
    host: bool = False
    """Whether the machine beneath is looked at."""
    steal: bool = False
    """Whether the node knows what is stolen from it."""
    compute: bool = True
    """Whether the service reports its computing."""


MACHINES: Final = (
    Machine(name="twin, emulated, real time", host=True),
    Machine(name="twin, KVM", host=True, steal=True),
    Machine(name="cloud node", steal=True),
    Machine(name="only the service's word"),
    Machine(name="only the host's word", host=True, compute=False),
    Machine(name="twin, virtual time", clock="virtual", host=True),
)

Busy = Callable[[PlannedRun, Spec, random.Random], bool]
"""Returns whether something takes the CPU in a run."""


def _in(scenario: str) -> Busy:
    return lambda run, spec, chance: run.scenario.name == scenario


DISTURBANCES: Final[Mapping[str, Busy]] = {
    "quiet": lambda run, spec, chance: False,
    "busy in baseline": _in(BASELINE),
    "busy in contention": _in(CONTENTION),
    "busy in drcio": _in(DRCIO),
    "busy in all": lambda run, spec, chance: True,
    "busy in the first half": lambda run, spec, chance: run.order * 2 <= spec.repeats * len(spec.scenarios),
    "busy now and then": lambda run, spec, chance: chance.random() < 0.4,
    "batch job takes CPU": lambda run, spec, chance: run.scenario.with_lp,
}
_FROM_INSIDE: Final = "batch job takes CPU"
"""Beside it the service has less CPU; nothing is taken from outside."""


def tells_apart(machine: Machine, disturbance: str) -> bool:
    """Return whether a disturbance can be told from a slower machine, of which the truth is another."""
    return disturbance != "busy in all" or machine.host or machine.steal


class SimulatedTarget:
    """Makes records of runs that never were."""

    def __init__(self, spec: Spec, truth: Truth, machine: Machine, disturbance: str, seed: int) -> None:
        self._spec, self._truth, self._machine = spec, truth, machine
        self._disturbance = disturbance
        self._chance = random.Random(f"{truth.name}/{machine.name}/{disturbance}/{seed}")  # noqa: S311

    def run_each(self, planned: Sequence[PlannedRun]) -> list[RunRecord]:
        """Make runs one after the other and return their records."""
        return [self.run(one) for one in planned]

    def run(self, planned: PlannedRun, progress: Progress | None = None) -> RunRecord:
        """Make one run and return its record."""
        chance = self._chance
        busy = DISTURBANCES[self._disturbance](planned, self._spec, chance)
        outside = busy and self._disturbance != _FROM_INSIDE
        taken = chance.uniform(*self._took(busy=busy))
        felt = taken if not (outside and self._machine.clock == "virtual") else 0.0
        slow = 1 / (1 - felt)
        load = self._load(planned, slow=slow)
        lost = taken if outside else chance.uniform(0.0, 0.02)
        behaviour = replace(
            behaviour_of(planned.scenario),
            lp_mib_s=self._lp_mib_s(planned, slow=slow),
            clock=self._machine.clock,
            cpu_taken_share=lost if self._machine.host else None,
            cpu_steal_share=lost if self._machine.steal else None,
            # An emulated guest books a CPU that stands still to whoever is on it.
            hp_cpu_usage_share=_WORK_SHARE * (slow if outside and not self._machine.steal else 1),
            hp_cpu_wait_share=chance.uniform(0.02, 0.06) + (0 if outside else _WORK_SHARE * (slow - 1)),
            lp_cpu_wait_share=chance.uniform(0.0, 0.04),
        )
        return build_run_around(load, self._spec, planned, _without_lp(behaviour, planned))

    def _took(self, *, busy: bool) -> tuple[float, float]:
        """Return what part of the CPU time is taken, from least to most."""
        if not busy:
            return 0.0, 0.03
        # More from inside and the run is invalid, for the service waited for a CPU.
        return (0.1, 0.28) if self._disturbance == _FROM_INSIDE else (0.25, 0.5)

    def _lp_mib_s(self, planned: PlannedRun, *, slow: float) -> float:
        if not planned.scenario.with_lp:
            return 0.0
        wanted = _VOLUME_LP_MIB_S * (self._truth.lp_share if planned.scenario.name == DRCIO else 1.0)
        return min(wanted * self._chance.uniform(0.98, 1.02), _CPU_LP_MIB_S / slow)

    def _load(self, planned: PlannedRun, *, slow: float) -> LoadDocument:
        volume = {BASELINE: 1.0, CONTENTION: self._truth.contended, DRCIO: self._truth.controlled}
        count = round(self._spec.rate_rps * self._spec.duration_s)
        compute = self._draw(_COMPUTE, count, slow)
        rest = self._draw(_REST, count, slow)
        fetch_cpu = self._draw(_FETCH_CPU, count, slow**_FETCH_SLOWS)
        disk = self._draw(_DISK, count, volume[planned.scenario.name])
        fetch = [cpu + one for cpu, one in zip(fetch_cpu, disk, strict=True)]
        whole = [sum(parts) for parts in zip(compute, rest, fetch, strict=True)]
        timings = {"fetch": _summary(fetch)} | ({"model": _summary(compute)} if self._machine.compute else {})
        return LoadDocument(
            plan={"rate_rps": self._spec.rate_rps},
            planned=count,
            sent=count,
            completed=count,
            errors={},
            offered_rps=self._spec.rate_rps,
            achieved_rps=self._spec.rate_rps,
            lag_p99_ms=1.0,
            lag_max_ms=2.0,
            fell_behind=False,
            latency=_summary(whole),
            timings=timings,
            intervals=(),
        )

    def _draw(self, part: Part, count: int, factor: float) -> list[float]:
        scale = part.median_ms * factor * math.exp(self._chance.gauss(0, _RUN_SPREAD))
        return [scale * shape for shape in self._chance.choices(part.shapes, k=count)]


def _without_lp(behaviour: Behaviour, planned: PlannedRun) -> Behaviour:
    return behaviour if planned.scenario.with_lp else replace(behaviour, lp_pod=False, lp_mib_s=0.0)


def _summary(values_ms: Sequence[float]) -> LatencySummary:
    ordered = sorted(values_ms)
    p50, p95, p99 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95, 0.99))
    return LatencySummary(p50_ms=p50, p95_ms=p95, p99_ms=p99, max_ms=ordered[-1], histogram="")


def simulated_spec() -> Spec:
    """Return what is asked of every simulated experiment: the command line's defaults, but short."""
    return Spec(
        load_level="custom",
        rate_rps=30.0,
        duration_s=4.0,
        warmup_s=0.0,
        repeats=3,
        more_repeats=2,
        volume=parse_volume("gp3"),
        lp_block_bytes=MIB,
        lp_workers=32,
        seed=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The verdicts on one truth under one disturbance, over many seeds."""

    truth: Truth
    machine: Machine
    disturbance: str
    outcomes: Mapping[Outcome, int]
    repeats_added: int

    @property
    def wrong(self) -> int:
        """Return how many verdicts were wrong."""
        return sum(count for outcome, count in self.outcomes.items() if outcome not in self.truth.allowed)

    @property
    def undecided(self) -> int:
        return sum(count for outcome, count in self.outcomes.items() if outcome in _UNDECIDED)

    @property
    def runs(self) -> int:
        return sum(self.outcomes.values())


def tally(truth: Truth, machine: Machine, disturbance: str, runs: int = RUNS) -> Tally:
    """Judge many experiments that differ by their chance alone."""
    spec = simulated_spec()
    outcomes: Counter[Outcome] = Counter()
    added = 0
    for seed in range(runs):
        target = SimulatedTarget(spec, truth, machine, disturbance, seed)
        records = plan_and_run(spec, target.run_each)
        outcomes[judge(study(records, spec)).outcome] += 1
        added += max(record.repeat for record in records) - spec.repeats
    return Tally(
        truth=truth, machine=machine, disturbance=disturbance, outcomes=outcomes, repeats_added=added
    )


def tallies(runs: int = RUNS) -> Iterator[Tally]:
    """Judge every truth under every disturbance on every machine."""
    for machine in MACHINES:
        for disturbance in DISTURBANCES:
            for truth in TRUTHS if tells_apart(machine, disturbance) else ():
                yield tally(truth, machine, disturbance, runs)


def table(found: Sequence[Tally]) -> str:
    """Lay the tallies out as Markdown: how often it was decided, rightly or wrongly."""
    lines = [
        f"| machine | CPU | {' | '.join(truth.name for truth in TRUTHS)} |",
        f"|---|---|{'---|' * len(TRUTHS)}",
    ]
    for machine in MACHINES:
        for disturbance in DISTURBANCES:
            cells = [
                _cell(one)
                for truth in TRUTHS
                for one in found
                if (one.machine, one.disturbance, one.truth) == (machine, disturbance, truth)
            ]
            if cells:
                lines.append(f"| {machine.name} | {disturbance} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(one: Tally) -> str:
    words = [
        f"{one.outcomes[outcome]} {outcome}" for outcome in ("pass", "fail") if one.outcomes.get(outcome)
    ]
    return ", ".join(words) + (f" (**{one.wrong} wrong**)" if one.wrong else "") if words else "0"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit status is 1 if any verdict was wrong."""
    parser = argparse.ArgumentParser(prog="python -m experiments.commands.injection", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help="experiments in each cell")
    options = parser.parse_args(arguments)
    found = list(tallies(options.runs))
    print(table(found))
    wrong, sound = sum(one.wrong for one in found), [one for one in found if one.disturbance == "quiet"]
    decidable = [one for one in sound if one.truth.allowed != _UNDECIDED]
    undecided = sum(one.undecided for one in decidable)
    print(
        f"\n{sum(one.runs for one in found)} experiments, {wrong} wrong verdicts; on a quiet machine "
        f"{undecided} of {sum(one.runs for one in decidable)} stay undecided",
        file=sys.stderr,
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
