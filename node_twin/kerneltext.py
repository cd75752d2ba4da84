"""Read the small text files of the kernel as far as a sample keeps them: light, as a look costs the pods CPU.

Formats: Documentation/admin-guide/cgroup-v2.rst, accounting/psi.rst. Strict reading is the controller's own
(`drcio_controller.kernel`); a sample that lacks a file is a sample all the same.
"""

from __future__ import annotations

from pathlib import Path


def read(path: Path) -> str:
    """Return a kernel file's text; one that is not there, or whose cgroup or process has ended, is empty."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def keyed_lines(text: str) -> dict[str, dict[str, str]]:
    """Parse `MAJ:MIN key=value ...` lines; words without `=` are passed over."""
    parsed = {}
    for line in text.splitlines():
        device, *words = line.split()
        parsed[device] = dict(word.split("=", 1) for word in words if "=" in word)
    return parsed


def pressure_totals_us(text: str) -> tuple[int, int]:
    """Return the some and full totals of a pressure file; 0 where the kernel has none."""
    totals = {"some": 0, "full": 0}
    for line in text.splitlines():
        kind, *words = line.split()
        for word in words:
            key, _, value = word.partition("=")
            if key == "total":
                totals[kind] = int(value)
    return totals["some"], totals["full"]


def default_weight(text: str) -> int | None:
    """Return the `default` line's value of an io.weight file; None where there is none."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == "default":
            return int(value)
    return None
