"""Files that are there whole or not at all, and that every JSON reader accepts."""

import json
import math
from pathlib import Path

import pytest

from experiments.records.wholefile import write_json


@pytest.mark.parametrize("compact", [False, True])
def test_number_that_json_cannot_say_is_refused_and_the_old_file_kept(
    tmp_path: Path, *, compact: bool
) -> None:
    path = tmp_path / "figures.json"
    write_json(path, {"p95_ms": 1.5}, compact=compact)
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"p95_ms": math.inf}, compact=compact)
    assert json.loads(path.read_text()) == {"p95_ms": 1.5}
    assert [entry.name for entry in tmp_path.iterdir()] == ["figures.json"]


def test_failed_write_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_json(path, {"p95_ms": 1.5})
    assert [entry.name for entry in tmp_path.iterdir()] == ["figures.json"]
