"""Where the engine's programs are: `DRCIO_ENGINE`, else PATH, else what `make engine` fetched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from experiments.commands.doctor import ENGINE_PROGRAMS as NAMES
from experiments.commands.doctor import ENGINE_VARIABLE as VARIABLE
from local_cluster.errors import ToolMissing

ROOT: Final = Path(__file__).resolve().parents[1]
FETCHED: Final = ROOT / ".cache" / "engine"


@dataclass(frozen=True, kw_only=True)
class Programs:
    """The path of each program."""

    paths: dict[str, Path]

    def __getitem__(self, name: str) -> str:
        return str(self.paths[name])

    @property
    def search_path(self) -> str:
        """PATH for the engine, which looks for its plugins there."""
        folders = dict.fromkeys(str(path.parent) for path in self.paths.values())
        return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])


def find(names: Sequence[str] = NAMES) -> Programs:
    """Return the programs, each from the first place that has it.

    Raises:
        ToolMissing: one is in none of the places.
    """
    given = os.environ.get(VARIABLE)
    # A folder that is named must have them: a fall-back would test another engine than was asked for.
    places = [given] if given else [os.environ.get("PATH", os.defpath), str(FETCHED)]
    found: dict[str, Path] = {}
    missing: list[str] = []
    for name in names:
        paths = [path for path in (shutil.which(name, path=place) for place in places) if path]
        if paths:
            found[name] = Path(paths[0]).absolute()
        else:
            missing.append(name)
    if missing:
        where = f"{VARIABLE}={given}" if given else f"PATH and {FETCHED.relative_to(ROOT)}"
        raise ToolMissing(
            f"{where}: no {', '.join(missing)}; expected all of {', '.join(names)}",
            hint=f"set {VARIABLE} to a folder that holds them, or fetch the official releases: make engine",
        )
    return Programs(paths=found)
