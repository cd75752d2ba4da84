"""The commands that the pages at the top and under docs/ tell a reader to type."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = tuple(sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]))
PROGRAMS: Final = (
    "make",
    "pulumi",
    "kubectl",
    "python",
    "pip",
    "docker",
    "pytest",
    "drcio-controller",
    "aws",
)
_START: Final = re.compile(rf"^ {{4,}}(?:\$\()?((?:{'|'.join(PROGRAMS)})\b.*)$")
_COMMENT: Final = re.compile(r"\s+#\s.*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a page, without its comment, with its continuation lines joined."""

    page: str
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        return self.words[0]

    def __str__(self) -> str:
        return shlex.join(self.words)


def commands() -> tuple[Command, ...]:
    """Return every command of every page, each once, in the order of the pages."""
    return tuple(
        dict.fromkeys(
            Command(page=str(page.relative_to(ROOT)), words=words)
            for page in PAGES
            for line in _lines(page)
            for words in _split(line)
        )
    )


def _lines(page: Path) -> list[str]:
    text = re.sub(r" *\\\n *", " ", page.read_text())
    return [found[1] for line in text.splitlines() if (found := _START.match(line))]


def _split(line: str) -> list[tuple[str, ...]]:
    """Take `a && b` apart, and `$(a)` out of its brackets."""
    plain = _COMMENT.sub("", line).rstrip()
    plain = plain.removesuffix(")") if plain.count(")") > plain.count("(") else plain
    return [tuple(shlex.split(part)) for part in plain.split(" && ")]
