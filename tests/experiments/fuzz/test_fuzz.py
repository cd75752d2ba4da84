"""Seeds are stored as they are done, judged together, and done again only where nothing is stored."""

from __future__ import annotations

import io
import json
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from experiments.commands.cli import main
from experiments.errors import SpecError
from experiments.fuzz.arms import ARMS, LAW
from experiments.fuzz.drive import Asked, check_arms, parse_seeds, run_seeds, simulated, summarise
from experiments.fuzz.judge import (
    Figures,
    cpu_short,
    judge,
    regretted,
    volume_used_ratio,
    worse_than_none,
)
from experiments.fuzz.table import print_fuzz
from experiments.fuzz.todo import Todo
from experiments.records.jsonfields import JsonObject, JsonValue


def figures(arm: str, *, p95: float, share: float, p99: float = 1.0) -> Figures:
    return Figures(
        seed=1, arm=arm, p50_ratio=1.0, p95_ratio=p95, p99_ratio=p99, p95_ms=p95, share=share, settled_s=0.0
    )


def seed(
    *, p95: float = 1.0, share: float = 0.8, none: float = 50.0, knob: tuple[float, float]
) -> dict[str, Figures]:
    return {
        "none": figures("none", p95=none, share=1.0),
        LAW: figures(LAW, p95=p95, share=share),
        "iomax-50": figures("iomax-50", p95=knob[0], share=knob[1]),
    }


def asked(output: Path, *seeds: int, **changes: Any) -> Asked:
    wanted = Asked(
        seeds=seeds, arms=("alone", "none", "drcio"), output=output, where="simulated", measured_s=6.0
    )
    return replace(wanted, **changes)


def run(wanted: Asked) -> list[JsonObject]:
    return run_seeds(
        wanted,
        lambda todo: simulated(todo, measured_s=wanted.measured_s, jobs=1),
        on_seed=lambda _: None,
    )


def test_knob_is_regretted_only_if_it_is_better_in_both() -> None:
    assert regretted(seed(p95=2.0, knob=(1.0, 0.9))) == "iomax-50"
    assert regretted(seed(p95=2.0, knob=(1.0, 0.7))) is None
    assert regretted(seed(p95=1.0, knob=(1.02, 0.99))) is None


def test_worse_than_uncontrolled_is_seen() -> None:
    assert worse_than_none(seed(p95=3.0, none=2.0, knob=(1, 0)))
    assert not worse_than_none(seed(p95=2.04, none=2.0, knob=(1, 0)))


def test_cpu_is_what_is_short_where_a_tenth_of_low_priority_hurts_on_a_twin() -> None:
    tenth = {**seed(knob=(1, 0)), "iomax-10": figures("iomax-10", p95=1.6, share=0.1)}
    assert cpu_short(tenth, "twin")
    assert not cpu_short(tenth, "simulated")
    assert not cpu_short({**tenth, "iomax-10": figures("iomax-10", p95=1.4, share=0.1)}, "twin")
    assert not cpu_short(seed(knob=(1, 0)), "twin"), "unknown without that arm"


def test_every_bound_is_missed_by_records_that_miss_it() -> None:
    good = [seed(knob=(1.0, 0.1))] * 10
    bad = [seed(p95=3.0, share=0.5, none=2.0, knob=(1.0, 0.9))] * 10

    assert all(check.met for check in judge(good))
    assert [check.met for check in judge(bad)] == [False, False, True, False, False, False]
    assert not judge(good[:9] + bad[:1])[1].met


@pytest.mark.parametrize(("text", "seeds"), [("3", (3,)), ("1-3,2,9", (1, 2, 3, 9))])
def test_seeds_are_ranges_and_numbers(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "5-1", "1-9999999", "-3"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_seeds(text)


def test_what_is_compared_with_is_always_among_the_arms() -> None:
    assert check_arms(["iomax-50"]) == ("alone", "none", "drcio", "iomax-50")
    with pytest.raises(SpecError, match="nope"):
        check_arms(["nope"])


def test_stored_seeds_are_kept_and_broken_ones_done_again(tmp_path: Path) -> None:
    first = run(asked(tmp_path, 11, 12))
    kept, broken = tmp_path / "seeds" / "11.json", tmp_path / "seeds" / "12.json"
    marked = json.loads(kept.read_text()) | {"mark": True}
    kept.write_text(json.dumps(marked))
    broken.write_text("{")

    second = run(asked(tmp_path, 11, 12, resume=True))

    assert second[0]["mark"]
    assert json.dumps(second[1]) == json.dumps(first[1])
    assert json.loads(json.dumps(first[1])) == json.loads(broken.read_text())


def test_only_the_arms_that_are_missing_are_run(tmp_path: Path) -> None:
    run(asked(tmp_path, 11))
    ran: list[Todo] = []

    def noting(todo: Sequence[Todo]) -> Generator[JsonObject]:
        ran.extend(todo)
        return simulated(todo, measured_s=6.0, jobs=1)

    more = asked(tmp_path, 11, resume=True, arms=("alone", "none", "drcio", "iomax-25"))
    (record,) = run_seeds(more, noting, on_seed=lambda _: None)

    assert ran == [Todo(11, ("iomax-25",))]
    assert cast(JsonObject, record["arms"]).keys() == set(more.arms)


@pytest.mark.parametrize("arm", [{}, None, {"p95_ms": "?"}])
def test_stored_arm_that_cannot_be_judged_is_run_again(tmp_path: Path, arm: JsonValue) -> None:
    (first,) = run(asked(tmp_path, 11))
    stored = tmp_path / "seeds" / "11.json"
    arms = cast(JsonObject, first["arms"])
    stored.write_text(json.dumps({**first, "arms": {**arms, "none": arm}}))

    (record,) = run(asked(tmp_path, 11, resume=True))

    assert json.dumps(cast(JsonObject, record["arms"])["none"]) == json.dumps(arms["none"])


@pytest.mark.parametrize("changes", [{"measured_s": 7.0}, {"where": "twin"}])
def test_what_was_measured_otherwise_is_not_kept(tmp_path: Path, changes: dict[str, object]) -> None:
    run(asked(tmp_path, 11))
    ran: list[Todo] = []

    def noting(todo: Sequence[Todo]) -> Generator[JsonObject]:
        ran.extend(todo)
        yield from ()

    run_seeds(asked(tmp_path, 11, resume=True, **changes), noting, on_seed=lambda _: None)

    assert [one.seed for one in ran] == [11]


def test_error_of_one_seed_loses_no_other_and_leaves_the_outcome_open(tmp_path: Path) -> None:
    def failing_once(todo: Sequence[Todo]) -> Generator[JsonObject]:
        yield {"seed": todo[0].seed, "errors": {"none": "the guest died"}}
        yield from simulated(todo[1:], measured_s=6.0, jobs=1)

    wanted = asked(tmp_path, 21, 4)
    records = run_seeds(wanted, failing_once, on_seed=lambda _: None)
    summary = summarise(records, tmp_path)

    assert [arms[LAW].seed for arms in summary.figures] == [4]
    assert summary.errors == {21: {"none": "the guest died"}}
    assert summary.exit_code == (3 if all(check.met for check in summary.checks) else 1)

    again = run(replace(wanted, resume=True))
    assert summarise(again, tmp_path).errors == {}


def measured_arm(p95_ms: float, low: float) -> JsonValue:
    return {
        "ios": 120,
        "p50_ms": p95_ms,
        "p95_ms": p95_ms,
        "p99_ms": p95_ms,
        "low_ios_per_s": low,
        "low_bytes_per_s": low,
        "p95_each_s": [p95_ms, p95_ms],
        "cost": {"guest_s": 10.0, "host_s": 50.0},
    }


def measured_seed(number: int, law_ms: float, tenth_ms: float) -> JsonObject:
    arms = {
        "alone": measured_arm(1, 0),
        "none": measured_arm(9, 100),
        LAW: measured_arm(law_ms, 80),
        "iomax-10": measured_arm(tenth_ms, 10),
    }
    mix: JsonObject = {"iops": 100, "mib_s": 1, "high": {"block_bytes": 4096}}
    return {"where": "twin", "seed": number, "measured_s": 12.0, "mix": mix, "arms": arms}


def test_seeds_short_of_cpu_are_judged_apart(tmp_path: Path) -> None:
    summary = summarise([measured_seed(1, 1.1, 1.0), measured_seed(2, 4.0, 3.0)], tmp_path)

    assert summary.short == (2,)
    assert all(check.met for check in summary.checks)
    assert not all(check.met for check in summary.checks_short)
    assert summary.exit_code == 0
    assert (summary.guest_s, summary.host_s) == (80.0, 400.0)
    assert summarise([measured_seed(2, 4.0, 3.0)], tmp_path).exit_code == 3


def test_seeds_beyond_a_bound_are_named_on_a_terminal_of_80_columns(tmp_path: Path) -> None:
    seeds = [measured_seed(number, 4.0 if number > 3 else 1.0, 1.0) for number in range(1, 10)]
    console = Console(record=True, width=80, file=io.StringIO())
    print_fuzz(console, summarise(seeds, tmp_path))
    printed = console.export_text()
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed
    (missed,) = [line for line in printed.splitlines() if line.startswith("p95 within 2.5 times alone")]
    assert missed.endswith("missed  4, 5, 6, 7, 2 more")


def test_command_prints_stores_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(
        [
            *("fuzz", "--simulated", "--seeds", "21-22", "--jobs", "2", "--duration", "10"),
            *("--output", str(tmp_path), "--json"),
        ]
    )

    summary = json.loads(capsys.readouterr().out)
    assert status == (0 if all(check["met"] for check in summary["checks"]) else 1)
    assert summary["seeds"] == [21, 22]
    assert set(summary["figures"][0]) == set(ARMS)
    assert (tmp_path / "fuzz.svg").read_text().lstrip().startswith("<?xml")
    record = json.loads((tmp_path / "seeds" / "21.json").read_text())
    assert sum(count for _, count in record["arms"]["drcio"]["histogram"]) == record["arms"]["drcio"]["ios"]


@pytest.mark.parametrize(
    ("low_ios", "low_bytes", "used"), [(80, 0, 0.9), (0, 1 << 20, 1.04), (10, 4096, 0.2)]
)
def test_use_of_the_volume_is_of_what_it_has_least_left_of(low_ios: int, low_bytes: int, used: float) -> None:
    record: JsonObject = {
        "measured_s": 12.0,
        "mix": {"iops": 100, "mib_s": 1, "high": {"block_bytes": 4096}},
        "arms": {"none": {"ios": 120, "low_ios_per_s": low_ios, "low_bytes_per_s": low_bytes}},
    }
    assert volume_used_ratio(record) == pytest.approx(used, abs=0.005)


@pytest.mark.parametrize("duration", ["0", "-3", "nan", "1e9"])
def test_durations_that_measure_nothing_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], duration: str
) -> None:
    assert main(["fuzz", "--simulated", "--duration", duration, "--output", str(tmp_path)]) == 2
    assert "hint:" in capsys.readouterr().err
