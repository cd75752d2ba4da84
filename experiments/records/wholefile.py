"""Write files whole or not at all, so that a killed run leaves no half of one."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from experiments.records.jsonfields import JsonObject


def write_text(path: Path, text: str) -> Path:
    """Replace a file by one rename."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Replace a file by one rename; where that fails, the old one is there and nothing beside it."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)  # noqa: PTH105 - the one rename that overwrites on every system
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return path


def write_json(path: Path, document: JsonObject, *, compact: bool = False) -> Path:
    """Replace a JSON file, indented unless it is one that only machines read.

    Raises ValueError for a number that JSON has no word for (infinity, not a number).
    """
    if compact:
        return write_text(path, json.dumps(document, separators=(",", ":"), allow_nan=False))
    return write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")
