import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lp_batch.errors import UsageError
from lp_batch.units import GIB, KIB, MIB, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("4096", 4096), ("4KiB", 4 * KIB), ("4k", 4 * KIB), ("1 MiB", MIB), ("2g", 2 * GIB), ("7B", 7)],
)
def test_sizes_are_read_as_people_write_them(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5GiB", "1TB", "4 4k", "1e3", "\u0661"])
def test_other_sizes_are_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError, match="is not understood") as refused:
        parse_size(text)
    assert refused.value.hint


@given(st.integers(min_value=0, max_value=1 << 50))
def test_a_formatted_size_reads_back(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == size_bytes


@given(st.text())
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert parse_size(text) >= 0
