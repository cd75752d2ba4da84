"""Do many seeds, several at a time, each stored before it is counted, and judge them together."""

from __future__ import annotations

import json
import multiprocessing
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, cast

from experiments.errors import SpecError
from experiments.fuzz.arms import ALONE, ARMS, LAW, NONE
from experiments.fuzz.judge import Check, Figures, figures_of, frontier, judge, regretted
from experiments.fuzz.measure import SCHEMA, simulate
from experiments.jsonfields import JsonObject
from experiments.wholefile import write_json

SEEDS_FOLDER: Final = "seeds"
SUMMARY_FILE: Final = "fuzz.json"
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


def run_seeds(
    seeds: Sequence[int],
    arms: Sequence[str],
    output: Path,
    *,
    jobs: int,
    resume: bool,
    on_seed: Callable[[JsonObject], None],
) -> list[JsonObject]:
    """Return every seed's record, in the order of the seeds; with `resume` those that are stored stay."""
    folder = output / SEEDS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    stored = {seed: record for seed in seeds if (record := _stored(folder, seed, arms))} if resume else {}
    for record in stored.values():
        on_seed(record)
    for record in _simulated([seed for seed in seeds if seed not in stored], arms, jobs):
        seed = cast(int, record["seed"])
        write_json(_file(folder, seed), record, compact=True)
        stored[seed] = record
        on_seed(record)
    return [stored[seed] for seed in seeds]


def summarise(records: Sequence[JsonObject], output: Path) -> tuple[list[dict[str, Figures]], list[Check]]:
    """Judge the records and store the outcome."""
    figures = [figures_of(record) for record in records]
    checks = judge(figures)
    write_json(
        output / SUMMARY_FILE,
        {
            "schema": SCHEMA,
            "where": records[0]["where"],
            "seeds": [cast(int, record["seed"]) for record in records],
            "checks": [
                {
                    "name": check.name,
                    "found": check.found,
                    "wanted": check.wanted,
                    "met": check.met,
                    "seeds": [_missed(arms) for arms in figures if arms[LAW].seed in check.seeds],
                }
                for check in checks
            ],
            "figures": [{name: _figures(one) for name, one in arms.items()} for arms in figures],
        },
    )
    return figures, checks


def _missed(arms: dict[str, Figures]) -> JsonObject:
    best = frontier(arms)
    return {
        "seed": arms[LAW].seed,
        "law": _figures(arms[LAW]),
        "best_fixed": _figures(best) if best else None,
        "regretted_for": regretted(arms),
    }


def _figures(one: Figures) -> JsonObject:
    return {
        "arm": one.arm,
        "p50_ratio": round(one.p50_ratio, 3),
        "p95_ratio": round(one.p95_ratio, 3),
        "p99_ratio": round(one.p99_ratio, 3),
        "share": round(one.share, 3),
        "settled_s": one.settled_s,
    }


def _simulated(seeds: Sequence[int], arms: Sequence[str], jobs: int) -> Iterator[JsonObject]:
    one = partial(simulate, arms=tuple(arms))
    if jobs <= 1 or len(seeds) < 2:
        yield from map(one, seeds)
        return
    # Fork would copy whatever threads the caller has; a fresh interpreter costs a second once.
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(one, seeds)


def _file(folder: Path, seed: int) -> Path:
    return folder / f"{seed}.json"


def _stored(folder: Path, seed: int, arms: Sequence[str]) -> JsonObject | None:
    """Return a seed's record if it is whole and of the same arms; anything else is done again."""
    try:
        record = json.loads(_file(folder, seed).read_text())
    except (OSError, ValueError):
        return None
    usable = isinstance(record, dict) and record.get("schema") == SCHEMA and record.get("seed") == seed
    return record if usable and set(arms) <= set(record.get("arms", ())) else None
