"""docs/operations.md has a row for each declared key; what a row says is held by make test-engine."""

from __future__ import annotations

import re

from stacks.configuration.keys import keys_of
from stacks.configuration.settings import Settings
from stacks.preview.dryrun import ROOT

PAGE = ROOT / "docs" / "operations.md"


def test_every_declared_key_has_a_row_in_its_order() -> None:
    rows = re.findall(r"^\| `drcio:([\w.]+)` \|", PAGE.read_text(), flags=re.MULTILINE)
    assert rows == [key.path for key in keys_of(Settings)]


def test_no_row_loses_the_volume_or_fails_half_way() -> None:
    kinds = re.findall(r"^\| `drcio:[^|]+\|[^|]+\| \*\*([^*]+)\*\*", PAGE.read_text(), flags=re.MULTILINE)
    assert set(kinds) <= {"in place", "replaced", "no effect", "refused"}


def test_tune_says_of_each_key_that_a_running_stack_refuses_that_it_does() -> None:
    refused = set(
        re.findall(r"^\| `drcio:([\w.]+)` \|[^|]+\| \*\*refused", PAGE.read_text(), flags=re.MULTILINE)
    )
    page = (ROOT / "docs" / "how-to" / "tune.md").read_text()
    sections = [
        (set(re.findall(r"config set --path 'drcio:([\w.]+)'", section)), section)
        for section in page.split("\n## ")
    ]
    assert any(keys & refused for keys, _ in sections)
    assert [keys for keys, section in sections if keys & refused and "**refused**" not in section] == []
