"""Do many seeds, several at a time, each stored before it is counted, and judge them together."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import re
import signal
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Final, cast

import msgspec

from experiments.errors import SpecError
from experiments.fuzz.arms import ALONE, ARMS, LAW, NONE
from experiments.fuzz.judge import (
    FULL_RATIO,
    Check,
    Figures,
    cpu_short,
    figures_of,
    frontier,
    judge,
    regretted,
    volume_used_ratio,
)
from experiments.fuzz.measure import SCHEMA, simulate
from experiments.fuzz.mix import draw
from experiments.fuzz.outcome import SUMMARY_FILE, ArmFigures, CheckOutcome, Cost, Missed, Outcome
from experiments.fuzz.todo import Todo
from experiments.records.jsonfields import JsonObject, dump
from experiments.records.values import Count, Number, Positive
from experiments.records.wholefile import write_json

SEEDS_FOLDER: Final = "seeds"
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?\Z")
_SEEDS_MOST: Final = 1_000_000


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of `1-20,33`.

    Raises:
        SpecError: the text is of another form, or names too many.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = _RANGE.match(part.strip())
        if match is None:
            raise SpecError(f"seeds are {text[:60]!r}; expected numbers and ranges", hint="such as 1-20,33")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first >= _SEEDS_MOST:
            raise SpecError(f"seeds {part.strip()} are no range", hint="such as 1-20")
        seeds.extend(range(first, last + 1))
    return tuple(dict.fromkeys(seeds))


def check_arms(names: Sequence[str]) -> tuple[str, ...]:
    """Return the arms to run, in their usual order; what everything is compared with is always among them.

    Raises:
        SpecError: there is no such arm.
    """
    unknown = [name for name in names if name not in ARMS]
    if unknown:
        raise SpecError(f"arm {unknown[0]!r} is unknown", hint=f"known: {', '.join(ARMS)}")
    return tuple(arm for arm in ARMS if arm in (*names, ALONE, NONE, LAW))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be known of which seeds, and where it is kept."""

    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    output: Path
    where: str
    """`simulated` or `twin`."""
    measured_s: float
    resume: bool = False


Run = Callable[[Sequence[Todo]], Generator[JsonObject]]
"""Yields records of whole seeds or of single arms of them, each with the seed's number, in any order."""


def run_seeds(asked: Asked, run: Run, *, on_seed: Callable[[JsonObject], None]) -> list[JsonObject]:
    """Return every seed's record, in the order of the seeds; with `resume` what is stored stays.

    Each is stored as it comes, so that nothing is lost when a later one fails or is interrupted.
    """
    folder = asked.output / SEEDS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    records = {
        seed: (_stored(folder, seed, asked) if asked.resume else None) or _empty(seed, asked)
        for seed in asked.seeds
    }
    todo = [Todo(seed, missing) for seed in asked.seeds if (missing := _missing(records[seed], asked))]
    left = {one.seed for one in todo}
    for seed in asked.seeds:
        if seed not in left:
            on_seed(records[seed])
    with contextlib.closing(run(todo)) as parts:
        for part in parts:
            seed = cast(int, part["seed"])
            records[seed] = merged(records[seed], part)
            write_json(_file(folder, seed), records[seed], compact=True)
            if records[seed].get("errors") or not _missing(records[seed], asked):
                on_seed(records[seed])
    return [records[seed] for seed in asked.seeds]


def merged(record: JsonObject, part: JsonObject) -> JsonObject:
    """Return a seed's record with the arms, or the errors, that have come; a run clears its arm's error."""
    arms = {
        **cast(JsonObject, record["arms"]),
        **cast(JsonObject, part.get("arms", {})),
    }
    errors = {
        arm: text
        for arm, text in {
            **cast(JsonObject, record.get("errors", {})),
            **cast(JsonObject, part.get("errors", {})),
        }.items()
        if arm not in arms
    }
    return {**record, **part, "arms": arms, "errors": errors}


def judged(records: Sequence[JsonObject]) -> list[JsonObject]:
    """Return the records that can be judged: with all that an arm is compared with."""
    needed = {ALONE, NONE, LAW}
    return [record for record in records if needed <= set(cast(JsonObject, record["arms"]))]


@dataclass(frozen=True, slots=True)
class Summary:
    """What came out over all seeds."""

    figures: list[dict[str, Figures]]
    """Of each seed that can be judged."""
    short: tuple[int, ...]
    """Seeds in which the CPU was short: what holds of them is in `checks_short`."""
    not_full: tuple[int, ...]
    """Seeds whose volume was not full uncontrolled: their programs, or the CPU, asked for less."""
    checks: list[Check]
    checks_short: list[Check]
    errors: dict[int, JsonObject]
    """By seed, what went wrong by arm."""
    guest_s: float
    host_s: float
    """What the runs took by the node's clock and by the host's; 0 where it is not recorded."""

    @property
    def exit_code(self) -> int:
        """Return 0 within all bounds, 1 beyond one of them, 3 where that is open."""
        if not all(check.met for check in self.checks):
            return 1
        return 3 if self.errors or not self.checks else 0


def summarise(records: Sequence[JsonObject], output: Path) -> Summary:
    """Judge the records and store the outcome."""
    whole = judged(records)
    figures = [figures_of(record) for record in whole]
    short = tuple(
        arms[LAW].seed
        for arms, record in zip(figures, whole, strict=True)
        if cpu_short(arms, cast(str, record["where"]))
    )
    by_volume = [arms for arms in figures if arms[LAW].seed not in short]
    by_cpu = [arms for arms in figures if arms[LAW].seed in short]
    costs = [
        cast("Mapping[str, float]", cost)
        for record in records
        for arm in cast("Mapping[str, JsonObject]", record["arms"]).values()
        if (cost := arm.get("cost")) is not None
    ]
    summary = Summary(
        figures=figures,
        short=short,
        not_full=tuple(
            cast(int, record["seed"]) for record in whole if volume_used_ratio(record) < FULL_RATIO
        ),
        checks=judge(by_volume) if by_volume else [],
        checks_short=judge(by_cpu) if by_cpu else [],
        errors={
            cast(int, record["seed"]): cast(JsonObject, record["errors"])
            for record in records
            if record.get("errors")
        },
        guest_s=sum(cost["guest_s"] for cost in costs),
        host_s=sum(cost["host_s"] for cost in costs),
    )
    write_json(output / SUMMARY_FILE, dump(_outcome(summary, records)))
    return summary


def _outcome(summary: Summary, records: Sequence[JsonObject]) -> Outcome:
    def outcomes(checks: Sequence[Check]) -> tuple[CheckOutcome, ...]:
        return tuple(_check_outcome(check, summary.figures) for check in checks)

    return Outcome(
        schema=SCHEMA,
        where=cast(str, records[0]["where"]),
        measured_s=cast(float, records[0]["measured_s"]),
        seeds=tuple(cast(int, record["seed"]) for record in records),
        cpu_short=summary.short,
        volume_not_full=summary.not_full,
        errors={str(seed): errors for seed, errors in summary.errors.items()},
        checks=outcomes(summary.checks),
        checks_cpu_short=outcomes(summary.checks_short),
        cost=Cost(guest_s=round(summary.guest_s, 1), host_s=round(summary.host_s, 1)),
        figures=tuple({name: _figures(one) for name, one in arms.items()} for arms in summary.figures),
        regretted_for={str(arms[LAW].seed): regretted(arms) for arms in summary.figures},
    )


def _check_outcome(check: Check, figures: Sequence[Mapping[str, Figures]]) -> CheckOutcome:
    missed = tuple(_missed(arms) for arms in figures if arms[LAW].seed in check.seeds)
    return CheckOutcome(name=check.name, found=check.found, wanted=check.wanted, met=check.met, seeds=missed)


def _missed(arms: Mapping[str, Figures]) -> Missed:
    best = frontier(arms)
    return Missed(
        seed=arms[LAW].seed,
        law=_figures(arms[LAW]),
        best_fixed=_figures(best) if best else None,
        regretted_for=regretted(arms),
    )


def _figures(one: Figures) -> ArmFigures:
    return ArmFigures(
        arm=one.arm,
        p50_ratio=round(one.p50_ratio, 3),
        p95_ratio=round(one.p95_ratio, 3),
        p99_ratio=round(one.p99_ratio, 3),
        share=round(one.share, 3),
        settled_s=one.settled_s,
    )


def simulated(todo: Sequence[Todo], *, measured_s: float, jobs: int) -> Generator[JsonObject]:
    """Run seeds on the simulated node, several at a time."""
    one = partial(_simulated, measured_s=measured_s)
    if jobs <= 1 or len(todo) < 2:
        yield from map(one, todo)
        return
    # Fork would copy whatever threads the caller has; a fresh interpreter costs a second once.
    with _uninterrupted():
        pool = multiprocessing.get_context("spawn").Pool(jobs)
    with pool:
        yield from pool.imap_unordered(one, todo)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep Ctrl-C from what is started here, for good; it reaches whoever started it, once that is done."""
    resource_tracker.ensure_running()  # it would let the signal through as it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _simulated(todo: Todo, measured_s: float) -> JsonObject:
    return simulate(todo.seed, todo.arms, measured_s)


def _empty(seed: int, asked: Asked) -> JsonObject:
    return {
        "schema": SCHEMA,
        "where": asked.where,
        "seed": seed,
        "measured_s": asked.measured_s,
        "mix": draw(seed).to_json(),
        "arms": {},
    }


def _missing(record: JsonObject, asked: Asked) -> tuple[str, ...]:
    return tuple(arm for arm in asked.arms if arm not in cast(JsonObject, record["arms"]))


def _file(folder: Path, seed: int) -> Path:
    return folder / f"{seed}.json"


def _stored(folder: Path, seed: int, asked: Asked) -> JsonObject | None:
    """Return what is stored of a seed if it is of the same mix, measured likewise; else it is done again."""
    try:
        record = json.loads(_file(folder, seed).read_text())
    except (OSError, ValueError):
        return None
    wanted = json.loads(json.dumps(_empty(seed, asked)))
    same = isinstance(record, dict) and all(
        record.get(key) == value for key, value in wanted.items() if key != "arms"
    )
    if not same or not isinstance(record.get("arms"), dict):
        return None
    return {**record, "arms": {name: arm for name, arm in record["arms"].items() if _is_measured(arm)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class _MeasuredArm:
    """What a stored arm must hold to be judged."""

    ios: Count
    p50_ms: Positive
    p95_ms: Positive
    p99_ms: Positive
    low_ios_per_s: Number
    low_bytes_per_s: Number
    p95_each_s: tuple[Number | None, ...]


def _is_measured(arm: object) -> bool:
    try:
        msgspec.convert(arm, _MeasuredArm)
    except msgspec.ValidationError:
        return False
    return True
