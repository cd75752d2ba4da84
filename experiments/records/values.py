"""What a number in a stored file may be: a bound that is declared here is checked where a file is read."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from load_generator.document import Count, Number

__all__ = ["Count", "Number", "Positive", "UnixS"]

UNIX_S_END: Final = 253_402_300_800
"""The year 10000, where datetime ends."""

Positive: TypeAlias = Annotated[float, Meta(gt=0, le=1.7976931348623157e308)]
UnixS: TypeAlias = Annotated[float, Meta(ge=0, lt=UNIX_S_END)]
"""Seconds since 1970 that a calendar can show."""
