from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_service import reader as reader_module
from hp_service.architecture import SLOTS
from hp_service.errors import DatasetError, FeatureReadError
from hp_service.manifest import ROW_BYTES
from hp_service.reader import FeatureReader
from hp_service.rows import MAX_FEATURES, write_rows

NODES, WIDTH = 300, 20
READ_PATHS = ("o_direct+aio", "o_direct+threads", "buffered+threads")


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(NODES, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, features: np.ndarray) -> Path:
    path = tmp_path_factory.mktemp("rows") / "features.bin"
    write_rows(path, features, np.arange(NODES))
    return path


def open_reader(path: Path, read_path: str = "o_direct+aio") -> FeatureReader:
    with pytest.MonkeyPatch.context() as patch:
        if read_path == "buffered+threads":
            opened = os.open(path, os.O_RDONLY)
            patch.setattr(reader_module, "_open", lambda _path: (opened, "O_DIRECT refused: test"))
        reader = FeatureReader(path, nodes=NODES, features=WIDTH, allow_aio=read_path != "o_direct+threads")
    if reader.path.name != read_path:
        pytest.skip(f"this file system gives {reader.path.name}: {reader.path.reason}")
    return reader


@pytest.mark.parametrize("read_path", READ_PATHS)
@pytest.mark.parametrize("rows", [[0], [NODES - 1, 3, 3, 0], list(range(SLOTS)), list(range(200))])
def test_every_read_path_returns_the_rows_asked_for(
    read_path: str, rows: list[int], path: Path, features: np.ndarray
) -> None:
    reader = open_reader(path, read_path)
    fetched = reader.fetch(np.array(rows))
    np.testing.assert_array_equal(fetched.features, features[rows])
    assert fetched.duration_s > 0
    assert bool(reader.path.reason) == (read_path != "o_direct+aio")
    reader.close()


@pytest.mark.parametrize("read_path", READ_PATHS)
def test_concurrent_fetches_do_not_mix(read_path: str, path: Path, features: np.ndarray) -> None:
    reader = open_reader(path, read_path)
    bursts = np.random.default_rng(1).integers(NODES, size=(200, SLOTS))
    with ThreadPoolExecutor(16) as threads:
        for rows, fetched in zip(bursts, threads.map(reader.fetch, bursts), strict=True):
            np.testing.assert_array_equal(fetched.features, features[rows])
    reader.close()


@pytest.mark.parametrize("read_path", READ_PATHS)
def test_row_beyond_the_end_fails_and_the_next_fetch_works(
    read_path: str, path: Path, features: np.ndarray
) -> None:
    reader = open_reader(path, read_path)
    with pytest.raises(FeatureReadError, match="a read of 2 failed"):
        reader.fetch(np.array([1, NODES + 5]))
    np.testing.assert_array_equal(reader.fetch(np.array([7])).features, features[[7]])
    reader.close()


def test_row_of_another_node_is_noticed(tmp_path: Path, features: np.ndarray) -> None:
    path = tmp_path / "features.bin"
    write_rows(path, features, np.arange(NODES))
    with path.open("r+b") as file:
        moved = file.read(ROW_BYTES)
        file.seek(5 * ROW_BYTES)
        file.write(moved)
    reader = open_reader(path)
    with pytest.raises(FeatureReadError, match="feature row 5 holds node 0"):
        reader.fetch(np.array([4, 5]))
    reader.close()


def test_truncated_file_is_refused(path: Path, tmp_path: Path) -> None:
    short = tmp_path / "features.bin"
    short.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=f"expected {NODES * ROW_BYTES}"):
        FeatureReader(short, nodes=NODES, features=WIDTH)


def test_missing_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is missing") as caught:
        FeatureReader(tmp_path / "features.bin", nodes=1, features=1)
    assert "prepare" in caught.value.hint


@given(st.integers(1, 40), st.integers(1, MAX_FEATURES))
def test_written_rows_hold_features_and_node_numbers(
    tmp_path_factory: pytest.TempPathFactory, nodes: int, width: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "features.bin"
    values = np.random.default_rng(nodes).normal(size=(nodes, width)).astype(np.float32)
    write_rows(path, values, np.arange(nodes)[::-1])
    raw = np.fromfile(path, dtype=np.uint8).reshape(nodes, ROW_BYTES)
    np.testing.assert_array_equal(raw[:, -8:].copy().view("<i8")[:, 0], np.arange(nodes))
    np.testing.assert_array_equal(raw[:, : 4 * width].copy().view("<f4"), values[::-1])


def test_too_many_features_for_a_row_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        write_rows(tmp_path / "x", np.zeros((1, MAX_FEATURES + 1), np.float32), np.arange(1))
