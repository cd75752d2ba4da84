"""The record of one run of a user's own pods: what each did to the volume, and how it ended.

Plain JSON, `drcio.own-run/1`: nothing is judged from it, so nothing is checked but what it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from experiments.errors import RecordError
from experiments.records.jsonfields import JsonObject
from experiments.records.record import OWN_RUN_SCHEMA, RUNS_FOLDER, schema_of
from experiments.records.wholefile import write_json


def write_own_run(directory: Path, file_name: str, run: JsonObject) -> Path:
    """Store a run under `directory`/runs, whole or not at all."""
    folder = directory / RUNS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return write_json(folder / file_name, run, compact=True)


def read_own_runs(directory: Path) -> Sequence[JsonObject] | None:
    """Return the runs of own pods in the order in which they were made; None where they are not such."""
    paths = sorted((directory / RUNS_FOLDER).glob("*.json"))
    if not paths or schema_of(paths[0]) != OWN_RUN_SCHEMA:
        return None
    runs = []
    for path in paths:
        if schema_of(path) != OWN_RUN_SCHEMA:
            raise RecordError(
                f"{path}: is no run of own pods ({OWN_RUN_SCHEMA}), which the others are",
                hint="run the experiment again",
            )
        runs.append(cast(JsonObject, json.loads(path.read_text())))
    return runs
