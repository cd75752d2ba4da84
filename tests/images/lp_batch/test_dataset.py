import os
from pathlib import Path

import pytest

from lp_batch.dataset import DataSet, prepare
from lp_batch.errors import EnvironmentFault
from lp_batch.stop import StopRequest
from lp_batch.units import MIB

SIZE = 2 * MIB + 4096


def make(directory: Path, *, size_bytes: int = SIZE, seed: int = 3) -> DataSet:
    data = prepare(directory, size_bytes, seed=seed, stop=StopRequest(), on_progress=lambda *_: None)
    assert data is not None
    return data


def test_a_file_is_made_once_and_found_again_whatever_the_seed(tmp_path: Path) -> None:
    made = make(tmp_path / "lp")
    assert made.created
    assert made.path.stat().st_size == SIZE
    before = made.path.stat().st_ino, made.path.stat().st_mtime_ns
    found = make(tmp_path / "lp", seed=99)
    assert not found.created
    assert found.data_set == made.data_set == 3
    assert (found.path.stat().st_ino, found.path.stat().st_mtime_ns) == before


def test_another_size_is_made_anew(tmp_path: Path) -> None:
    make(tmp_path)
    assert make(tmp_path, size_bytes=MIB).created


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    path = make(tmp_path).path
    with path.open("r+b") as file:
        file.write(bytes(4096))
    assert make(tmp_path).created


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "drcio.lp-data/1", "file_bytes": 1}', "\x00"])
def test_a_bad_marker_counts_as_none(tmp_path: Path, text: str) -> None:
    make(tmp_path)
    (tmp_path / "lp.json").write_text(text)
    assert make(tmp_path).created


def test_a_stop_leaves_nothing_half_made(tmp_path: Path) -> None:
    stop = StopRequest()
    data = prepare(tmp_path, 4 * MIB, seed=1, stop=stop, on_progress=lambda *_: stop.ask("sigterm"))
    assert data is None
    assert list(tmp_path.iterdir()) == []


def test_too_small_a_volume_is_said_before_writing(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="MiB free; the data file needs") as refused:
        make(tmp_path, size_bytes=1 << 60)
    assert refused.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission_is_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(EnvironmentFault, match="Permission denied"):
        make(tmp_path / "lp")


def test_a_file_in_place_of_the_directory_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "lp").write_text("")
    with pytest.raises(EnvironmentFault, match="cannot prepare"):
        make(tmp_path / "lp")
