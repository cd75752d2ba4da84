"""What a file of this repository imports, and what that imports, as far as it lies in this repository."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stacks.preview.dryrun import ROOT

SOURCE_ROOTS = (ROOT, *sorted(ROOT.glob("images/*/src")))


@dataclass(frozen=True)
class Reached:
    """Where the imports of a file lead."""

    files: frozenset[Path]
    """Our own files, the packages' `__init__` included."""
    others: frozenset[str]
    """Top-level names of modules that neither Python nor this repository brings."""


def reached_from(*starts: Path) -> Reached:
    """Follow all imports, those inside of functions too."""
    files: set[Path] = set()
    others: set[str] = set()
    waiting = list(starts)
    while waiting:
        file = waiting.pop()
        if file in files:
            continue
        files.add(file)
        for name in _imported(file):
            found = list(_files_of(name))
            waiting += found
            top = name.partition(".")[0]
            if not found and top not in sys.stdlib_module_names and not list(_files_of(top)):
                others.add(top)
    return Reached(frozenset(files), frozenset(others))


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, (_package(file, node.level), node.module)))
            yield module
            # Each may be a module of the package as well as a name in it.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _package(file: Path, level: int) -> str:
    """Return what a relative import's dots stand for; empty for an absolute import."""
    if level == 0:
        return ""
    root = max((root for root in SOURCE_ROOTS if root in file.parents), key=lambda root: len(root.parts))
    return ".".join(file.parents[level - 1].relative_to(root).parts)


def _files_of(name: str) -> Iterator[Path]:
    """Yield a module's file and those of the packages it lies in; none where it is no module of ours."""
    parts = name.split(".")
    for root in SOURCE_ROOTS:
        for count in range(1, len(parts) + 1):
            place = root.joinpath(*parts[:count])
            yield from (file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file())
