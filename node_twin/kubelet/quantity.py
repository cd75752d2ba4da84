"""Kubernetes' quantities, as manifests have them: `250m`, `1.5`, `1Gi`."""

import re
from decimal import ROUND_CEILING, Decimal

_QUANTITY = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?P<suffix>[A-Za-z]*)")

_SUFFIXES = {
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


def parse_quantity(text: str) -> Decimal:
    """Return the value of a non-negative quantity; raise ValueError where it is none."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no quantity")
    number, suffix = Decimal(found["number"]), found["suffix"]
    if suffix not in _SUFFIXES:
        raise ValueError(f"{text!r} has an unknown suffix {suffix!r}")
    return number * _SUFFIXES[suffix]


def milli(quantity: Decimal) -> int:
    """Return a quantity in thousandths, rounded up as Kubernetes does."""
    return whole(quantity * 1000)


def whole(quantity: Decimal) -> int:
    """Return a quantity in whole units, rounded up as Kubernetes does."""
    return int(quantity.to_integral_value(ROUND_CEILING))
