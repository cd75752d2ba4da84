"""The judgement on experiments whose truth is known: never a wrong pass, never a wrong fail."""

from pathlib import Path

import pytest

from experiments.commands.injection import (
    DISTURBANCES,
    MACHINES,
    RUNS,
    TRUTHS,
    Machine,
    Tally,
    main,
    table,
    tally,
    tells_apart,
)

EMULATED = MACHINES[0]
IN_THE_BOOK = Path(__file__).parents[3] / "docs" / "explanation" / "judgement.md"


def found(machine: Machine, disturbance: str, runs: int) -> list[Tally]:
    return [tally(truth, machine, disturbance, runs) for truth in TRUTHS]


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_nothing_wrong_is_said_however_the_host_is_disturbed(disturbance: str) -> None:
    cells = found(EMULATED, disturbance, RUNS)
    print(table(cells))
    assert [one.outcomes for one in cells if one.wrong] == []
    assert table(cells).splitlines()[-1] in IN_THE_BOOK.read_text(encoding="utf-8").splitlines(), (
        "docs/explanation/judgement.md has another line; "
        "`python -m experiments.commands.injection` prints them all"
    )


@pytest.mark.parametrize("machine", MACHINES[1:], ids=lambda machine: machine.name)
def test_nothing_wrong_is_said_whatever_of_the_cpus_is_recorded(machine: Machine) -> None:
    told_apart = [disturbance for disturbance in DISTURBANCES if tells_apart(machine, disturbance)]
    cells = [one for disturbance in told_apart for one in found(machine, disturbance, 4)]
    print(table(cells))
    assert [(one.disturbance, one.truth.name, one.outcomes) for one in cells if one.wrong] == []


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_sound_experiment_is_decided_without_a_further_repeat(machine: Machine) -> None:
    cells = [one for one in found(machine, "quiet", 8) if one.truth.name != "no contention"]
    undecided, runs = sum(one.undecided for one in cells), sum(one.runs for one in cells)
    print(f"{undecided} of {runs} undecided")
    assert undecided <= 0.05 * runs
    assert sum(one.repeats_added for one in cells) <= 0.05 * runs


def test_virtual_time_does_not_care_for_the_host() -> None:
    (virtual,) = (machine for machine in MACHINES if machine.clock == "virtual")
    for disturbance in ("busy in drcio", "busy in the first half", "busy in all"):
        works, broken, *_ = found(virtual, disturbance, 4)
        assert (works.outcomes, broken.outcomes) == ({"pass": 4}, {"fail": 4})


def test_disturbance_of_the_first_half_is_outvoted_by_further_repeats() -> None:
    works, broken, *_ = found(EMULATED, "busy in the first half", 8)
    assert (works.outcomes, broken.outcomes) == ({"pass": 8}, {"fail": 8})
    assert works.repeats_added >= 8


def test_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "1"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 2 + len(MACHINES) * len(DISTURBANCES) - 1
    assert "0 wrong verdicts" in printed.err
