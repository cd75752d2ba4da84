"""Seeds are stored as they are done, judged together, and done again only where nothing is stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.cli import main
from experiments.errors import SpecError
from experiments.fuzz.arms import ARMS, LAW
from experiments.fuzz.drive import check_arms, parse_seeds, run_seeds
from experiments.fuzz.judge import Figures, judge, regretted, worse_than_none


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


def test_knob_is_regretted_only_if_it_is_better_in_both() -> None:
    assert regretted(seed(p95=2.0, knob=(1.0, 0.9))) == "iomax-50"
    assert regretted(seed(p95=2.0, knob=(1.0, 0.7))) is None
    assert regretted(seed(p95=1.0, knob=(1.02, 0.99))) is None


def test_worse_than_uncontrolled_is_seen() -> None:
    assert worse_than_none(seed(p95=3.0, none=2.0, knob=(1, 0)))
    assert not worse_than_none(seed(p95=2.04, none=2.0, knob=(1, 0)))


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
    arms = ("alone", "none", "drcio")
    first = run_seeds((11, 12), arms, tmp_path, jobs=1, resume=False, on_seed=lambda _: None)
    kept, broken = tmp_path / "seeds" / "11.json", tmp_path / "seeds" / "12.json"
    marked = json.loads(kept.read_text()) | {"mark": True}
    kept.write_text(json.dumps(marked))
    broken.write_text("{")

    second = run_seeds((11, 12), arms, tmp_path, jobs=1, resume=True, on_seed=lambda _: None)

    assert second[0]["mark"]
    assert json.dumps(second[1]) == json.dumps(first[1])
    assert json.loads(json.dumps(first[1])) == json.loads(broken.read_text())


def test_command_prints_stores_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(
        ["fuzz", "--simulated", "--seeds", "21-22", "--jobs", "2", "--output", str(tmp_path), "--json"]
    )

    summary = json.loads(capsys.readouterr().out)
    assert status == (0 if all(check["met"] for check in summary["checks"]) else 1)
    assert summary["seeds"] == [21, 22]
    assert set(summary["figures"][0]) == set(ARMS)
    assert (tmp_path / "fuzz.svg").read_text().lstrip().startswith("<?xml")
    record = json.loads((tmp_path / "seeds" / "21.json").read_text())
    assert sum(count for _, count in record["arms"]["drcio"]["histogram"]) == record["arms"]["drcio"]["ios"]
