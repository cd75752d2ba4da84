"""Labels of nodes; by themselves, so that what only reads them needs no cloud's SDK."""

from __future__ import annotations

from typing import Final

STACK_LABEL: Final = "drcio.io/stack"
"""Node label and taint key: which stack's workloads and controller belong here."""
