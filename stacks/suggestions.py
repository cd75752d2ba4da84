"""What somebody may have meant who mistyped a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `did you mean X? ` for the known name that is most like this one; empty where none is.

    A name without its section, or with another one's, is compared by its last part as well.
    """
    by_spelling: dict[str, str] = {}
    for full in known:
        by_spelling.setdefault(full.lower(), full)
        by_spelling.setdefault(full.rpartition(".")[2].lower(), full)
    for spelling in (name.lower(), name.rpartition(".")[2].lower()):
        found = difflib.get_close_matches(spelling, by_spelling, n=1, cutoff=0.75)
        if found:
            return f"did you mean {by_spelling[found[0]]}? "
    return ""
