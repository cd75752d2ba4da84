"""Byte sizes as people write them."""

import re

from lp_batch.errors import UsageError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_FACTORS = {"": 1, "b": 1, "k": KIB, "kib": KIB, "m": MIB, "mib": MIB, "g": GIB, "gib": GIB}
_SIZE = re.compile(r"\s*(\d+)\s*([a-z]*)\s*", re.ASCII)


def parse_size(text: str) -> int:
    """Return the bytes meant by `4KiB`, `1MiB`, `2g`, `4096`; a bare K, M or G is binary, as in fio."""
    match = _SIZE.fullmatch(text.lower())
    factor = _FACTORS.get(match[2]) if match else None
    if match is None or factor is None:
        raise UsageError(
            f"size {text!r} is not understood; expected a whole number with B, KiB, MiB or GiB",
            hint="write 4KiB, 1MiB or 1GiB",
        )
    return int(match[1]) * factor


def format_size(size_bytes: int) -> str:
    """Write a size in the largest unit that divides it."""
    for factor, unit in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}B"
