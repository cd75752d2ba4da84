"""Read chosen values out of Prometheus's text exposition format.

Not with prometheus_client's parser: it builds every family of a page, and this runs once a second beside
the load generator, whose lateness it would add to.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from experiments.job.errors import ScrapeError

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?')
_ESCAPE: Final = re.compile(r"\\(.)")
_UNESCAPED: Final = {"n": "\n", "\\": "\\", '"': '"'}


@dataclass(frozen=True, slots=True)
class Reading:
    """One sample of one series."""

    name: str
    labels: Mapping[str, str]
    value: float


def read(text: str, names: Collection[str]) -> tuple[Reading, ...]:
    """Return the samples of the named series; raises ScrapeError for a line of theirs that is malformed."""
    readings = []
    # Not splitlines(), which also breaks at characters that a label's value may hold.
    for line in text.split("\n"):
        found = _NAME.match(line)
        if found is not None and found[0] in names:
            readings.append(_reading(line, found[0]))
    return tuple(readings)


def _reading(line: str, name: str) -> Reading:
    rest = line[len(name) :]
    labels: dict[str, str] = {}
    if rest.startswith("{"):
        position = 1
        while (found := _LABEL.match(rest, position)) is not None:
            labels[found[1]] = _ESCAPE.sub(lambda escape: _UNESCAPED.get(escape[1], escape[0]), found[2])
            position = found.end()
        if not rest.startswith("}", position):
            raise _malformed(line)
        rest = rest[position + 1 :]
    words = rest.split()  # the value, and a timestamp that nobody of ours writes
    try:
        return Reading(name, labels, float(words[0]))
    except (IndexError, ValueError):
        raise _malformed(line) from None


def _malformed(line: str) -> ScrapeError:
    return ScrapeError(f"metrics line is {line[:80]!r}; expected NAME{{LABELS}} VALUE")
