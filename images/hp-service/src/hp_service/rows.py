"""Lay out the feature file: one row of 4 KiB per node.

    byte 0                     float32 features, little endian
    byte 4 * len(features)     zeros
    byte 4088                  the node's number, int64: a reader can tell that it got the right row

A row is as large as a page because that is what a read from a disk costs anyway, and because real
feature stores keep some hundreds of values per entity.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hp_service.errors import FeatureReadError
from hp_service.manifest import ROW_BYTES

NODE_BYTES = 8
ROWS_PER_WRITE = 4096
MAX_FEATURES = (ROW_BYTES - NODE_BYTES) // 4


def write_rows(
    path: Path,
    features: npt.NDArray[np.float32],
    source_row: npt.NDArray[np.int64],
    progress: Callable[[float], None] = lambda _done: None,
) -> None:
    """Write one row per entry of `source_row`: the features of that row of `features`."""
    width = features.shape[1]
    if width > MAX_FEATURES:
        raise ValueError(f"{width} features do not fit into a row, expected at most {MAX_FEATURES}")
    nodes = len(source_row)
    with path.open("wb") as file:
        for start in range(0, nodes, ROWS_PER_WRITE):
            stop = min(start + ROWS_PER_WRITE, nodes)
            block = np.zeros((stop - start, ROW_BYTES), dtype=np.uint8)
            block[:, : 4 * width] = features[source_row[start:stop]].astype("<f4").view(np.uint8)
            numbers = np.arange(start, stop, dtype="<i8")
            block[:, -NODE_BYTES:] = numbers.view(np.uint8).reshape(-1, NODE_BYTES)
            file.write(block.tobytes())
            progress(stop / nodes)


def decode_rows(
    raw: npt.NDArray[np.uint8], nodes: npt.NDArray[np.int64], width: int
) -> npt.NDArray[np.float32]:
    """Copy the features out of raw rows; refuse rows of other nodes than `nodes`."""
    found = raw.view("<i8")[:, -1]
    if not np.array_equal(found, nodes):
        at = int(np.flatnonzero(found != nodes)[0])
        raise FeatureReadError(
            f"feature row {int(nodes[at])} holds node {int(found[at])}",
            hint="the feature file is damaged: run `hp-service prepare --verify`",
        )
    return raw.view("<f4")[:, :width].copy()
