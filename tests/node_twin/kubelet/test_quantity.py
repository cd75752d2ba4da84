"""Kubernetes' quantities."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_twin.kubelet.quantity import milli, parse_quantity, whole


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250m", "0.25"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("1Gi", "1073741824"),
        ("1.5Ki", "1536"),
        ("1E", "1000000000000000000"),
        ("3k", "3000"),
        ("0", "0"),
    ],
)
def test_quantity(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1gb", "-1", "1K", "0x10", "1e", "2e3", "1u", "1Gi "])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"quantity|suffix"):
        parse_quantity(text)


def test_fractions_are_rounded_up() -> None:
    assert milli(Decimal("0.0001")) == 1
    assert whole(Decimal("1.2")) == 2


@given(st.integers(0, 10**9))
def test_milli_inverts_m(amount: int) -> None:
    assert milli(parse_quantity(f"{amount}m")) == amount


@given(st.text(max_size=8))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    try:
        value = parse_quantity(text)
    except ValueError:
        return
    assert value >= 0
