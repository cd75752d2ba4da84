"""The tables that commands print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table


def plain_table(words: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    """Return a table without lines: columns of words to the left, of numbers to the right."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in words:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table
