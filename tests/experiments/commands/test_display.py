"""The lines that say what each target is doing."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from experiments.commands.display import Display


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, ["set-up: booting", "seed 1: measuring"]),
        (2, ["guest 1 set-up: booting", "guest 1 seed 1: measuring", "guest 2 set-up: booting"]),
    ],
)
def test_lines_of_several_guests_are_numbered_from_the_set_up_on(count: int, expected: list[str]) -> None:
    printed = io.StringIO()
    with Display(Console(file=printed, force_terminal=False), runs=1) as display:
        first, *others = display.lanes(count)
        first.doing("booting")
        first.begin_run("seed 1")
        first.doing("measuring")
        for other in others:
            other.doing("booting")
    assert [re.sub(r"^\[ *\d+ s\] ", "", line) for line in printed.getvalue().splitlines()] == expected
