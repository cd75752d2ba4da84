import base64
import zlib

import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]  # ships no types
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.errors import RecordError
from experiments.records.histogram import Histogram, decode, merge
from tests.experiments.build import encode

LATENCIES_US = st.lists(st.integers(1, 60_000_000), min_size=1, max_size=50)


@given(LATENCIES_US, st.floats(0.1, 100))
@settings(max_examples=50, deadline=None)
def test_percentiles_are_those_of_the_library(latencies_us: list[int], percentile: float) -> None:
    encoded = encode(latencies_us)
    expected_us = HdrHistogram.decode(encoded).get_value_at_percentile(percentile)
    assert decode(encoded, where="test").percentile_ms(percentile) == expected_us / 1000


@given(LATENCIES_US, LATENCIES_US)
@settings(max_examples=50, deadline=None)
def test_merged_histogram_is_that_of_all_requests(first: list[int], second: list[int]) -> None:
    merged = merge(decode(encode(part), where="test") for part in (first, second))
    assert merged == decode(encode(first + second), where="test")


@given(LATENCIES_US)
@settings(max_examples=50, deadline=None)
def test_mean_is_within_the_histograms_resolution(latencies_us: list[int]) -> None:
    mean_ms = decode(encode(latencies_us), where="test").mean_ms()
    assert mean_ms == pytest.approx(sum(latencies_us) / len(latencies_us) / 1000, rel=1e-3, abs=1e-3)


def test_nothing_recorded_has_no_percentile() -> None:
    empty = decode("", where="test")
    assert empty == Histogram()
    assert (empty.percentile_ms(95), empty.mean_ms(), empty.total) == (None, None, 0)


def test_shares_grow_to_one() -> None:
    _, shares = decode(encode([1000, 2000, 2000, 9000]), where="test").cumulative()
    assert shares == [0.25, 0.75, 1.0]


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_damaged_histogram_is_refused_with_its_place(damage: bytes) -> None:
    for text in (base64.b64encode(damage).decode(), base64.b64encode(zlib.compress(damage)).decode()):
        try:
            decode(text, where="run.json: load.latency")
        except RecordError as error:
            assert str(error).startswith("run.json: load.latency")  # noqa: PT017 - may also decode


@pytest.mark.parametrize("text", ["hello", "A", "AAAA", "äöü", "HISTFAAAAC"])
def test_text_that_is_no_histogram_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match="not an HdrHistogram"):
        decode(text, where="run.json")
