"""Write files whole or not at all, so that a killed run leaves no half of one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from experiments.records.jsonfields import JsonObject


def write_text(path: Path, text: str) -> Path:
    """Replace a file by one rename."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)  # noqa: PTH105 - the one rename that overwrites on every system
    return path


def write_json(path: Path, document: JsonObject, *, compact: bool = False) -> Path:
    """Replace a JSON file, indented unless it is one that only machines read.

    Raises ValueError for a number that JSON has no word for (infinity, not a number).
    """
    if compact:
        return write_text(path, json.dumps(document, separators=(",", ":"), allow_nan=False))
    return write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")
