"""Functions that a reader can hold: none is longer than a screen or takes more than eight arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from stacks.preview.dryrun import ROOT

LINES_MAX = 60
ARGUMENTS_MAX = 8
PACKAGES = (
    *(path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"),
    *ROOT.glob("images/*/src"),
)


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for package in PACKAGES:
        for file in package.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield file, node


def arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count what a caller may give: not `self` or `cls`."""
    given = node.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    own = names[:1] in (["self"], ["cls"])
    return len(names) - own + (given.vararg is not None) + (given.kwarg is not None)


def test_functions_are_no_longer_than_a_screen() -> None:
    found = list(functions())
    assert len(found) > 1000
    long = {
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}": lines
        for file, node in found
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > LINES_MAX
    }
    assert long == {}


def test_functions_take_at_most_eight_arguments() -> None:
    wide = {
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}": arguments(node)
        for file, node in functions()
        if arguments(node) > ARGUMENTS_MAX
    }
    assert wide == {}
