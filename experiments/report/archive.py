"""Pack an experiment's files into one, to be carried inside the page."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ARCHIVE_FILE: Final = "drcio-records.tar.gz"
MAX_BYTES: Final = 6 << 20
"""A page of more than this is no page to send; its records stay beside it."""


def packed(directory: Path, paths: Iterable[Path]) -> bytes | None:
    """Return a .tar.gz of files of a folder, alike for alike files; None where it would be too large."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in paths:
            content = path.read_bytes()
            entry = tarfile.TarInfo(path.relative_to(directory).as_posix())
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    compressed = gzip.compress(buffer.getvalue(), mtime=0)
    return compressed if len(compressed) <= MAX_BYTES else None
