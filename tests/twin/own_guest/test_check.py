"""The volume in its guest, against its formula and what is published of the kernel's controls.

One guest measures everything; in virtual time the figures are the same beside any load, so this takes no
turn alone on the machine.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.records.jsonfields import JsonObject
from node_twin.check import rows as check
from tests.twin.conftest import CACHE

pytestmark = [pytest.mark.twin, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> JsonObject:
    output: Path = tmp_path_factory.mktemp("check")
    return check.measure(cache=CACHE / "twin", output=output)


@pytest.mark.parametrize("about", [check.volume_rows, check.control_rows, check.protection_rows])
def test_everything_holds(figures: JsonObject, about: Callable[[JsonObject], list[check.Row]]) -> None:
    missed = [row for row in about(figures) if not row.holds]
    assert not missed, "\n" + check.table(missed)
