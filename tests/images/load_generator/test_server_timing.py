import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_generator.server_timing import parse_server_timing


@pytest.mark.parametrize(
    ("header", "durations_us"),
    [
        ("sample;dur=1.2, fetch;dur=12.3, model;dur=20.1", {"sample": 1200, "fetch": 12300, "model": 20100}),
        ("fetch;dur=7", {"fetch": 7000}),
        ("Fetch;DUR=0.0004", {"fetch": 0}),
        ('fetch;desc="disk, all";dur=3.5, model;dur="2"', {"fetch": 3500, "model": 2000}),
        ("fetch ; dur = 3 ", {"fetch": 3000}),
        ("cache, fetch;dur=1", {"fetch": 1000}),
        ("fetch;duration=5", {}),
        ("fetch;dur=-1", {}),
        ("fetch;dur=NaN, model;dur=1", {"model": 1000}),
        ("fetch;dur=99999999999999999999", {}),
        ("", {}),
        (";;,,=", {}),
    ],
)
def test_durations_are_read_and_the_rest_is_left_out(header: str, durations_us: dict[str, int]) -> None:
    assert parse_server_timing(header) == durations_us


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.integers(0, 10**9), max_size=6))
def test_what_a_service_writes_is_read_back(durations_us: dict[str, int]) -> None:
    header = ", ".join(f"{name};dur={value / 1000:.3f}" for name, value in durations_us.items())
    assert parse_server_timing(header) == durations_us


@given(st.text(alphabet=st.sampled_from('abc;=,". \\dur019-'), max_size=200))
def test_any_header_is_read_without_failing(header: str) -> None:
    assert all(value >= 0 for value in parse_server_timing(header).values())
