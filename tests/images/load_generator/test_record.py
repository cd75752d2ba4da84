import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_generator.client import Answer
from load_generator.errors import RecordError
from load_generator.histogram import Histogram
from load_generator.plan import Plan
from load_generator.record import LoadRecord, merge, read_record
from load_generator.recorder import Recorder

PLAN = Plan(url="http://localhost/score", rate_rps=10, duration_s=2)
values_us = st.lists(st.integers(min_value=1, max_value=3_000_000_000), max_size=60)


def record_of(
    latencies_us: list[int], *, lag_us: int = 100, errors: int = 0, plan: Plan = PLAN
) -> LoadRecord:
    """Make a record of requests that are scheduled 100 ms apart and whose fetch took half the latency."""
    recorder = Recorder()
    for index, latency_us in enumerate(latencies_us):
        recorder.on_sent(lag_us)
        recorder.on_answer(
            index * 100_000,
            index * 100_000 + latency_us,
            Answer(error=None, timings_us={"fetch": latency_us // 2}),
        )
    for index in range(errors):
        recorder.on_sent(lag_us)
        recorder.on_answer(index, index, Answer(error="http_503", timings_us={}))
    return recorder.record(
        plan, len(latencies_us) + errors, window_us=2_000_000, interrupted=False, warmup=Recorder()
    )


def test_a_record_sums_up_what_happened() -> None:
    record = record_of([1000, 2000, 3000, 4000], errors=2)
    document = record.to_json()
    assert document["schema"] == "drcio.load/1"
    assert (record.planned, record.sent, record.completed) == (6, 6, 4)
    assert document["errors"] == {"http_503": 2}
    assert document["offered_rps"] == 3.0
    assert document["achieved_rps"] == 2.0
    assert record.latency.percentile_ms(50) == pytest.approx(2, rel=0.001)
    assert record.latency.max_ms == pytest.approx(4, rel=0.001)
    assert record.timings["fetch"].max_ms == pytest.approx(2, rel=0.001)


def test_intervals_are_the_seconds_in_which_requests_were_due() -> None:
    record = record_of([5000] * 12, errors=1)
    assert [(i.t_s, i.count, i.errors) for i in record.intervals] == [(0, 10, 1), (1, 2, 0)]
    assert sum(i.timings["fetch"].count for i in record.intervals) == 12


def test_late_answers_lower_the_achieved_rate() -> None:
    # 4 answers, the last of them 4 s after the start of a window of 2 s.
    assert record_of([1000, 1000, 1000, 3_700_000]).achieved_rps == pytest.approx(1.0)


@pytest.mark.parametrize(("lag_us", "fell_behind"), [(49_000, False), (51_000, True)])
def test_a_late_generator_says_that_it_fell_behind(lag_us: int, fell_behind: bool) -> None:
    record = record_of([1000] * 5, lag_us=lag_us)
    assert record.fell_behind is fell_behind
    assert record.to_json()["lag_p99_ms"] == pytest.approx(lag_us / 1000, rel=0.001)


def test_a_run_without_answers_has_no_percentiles() -> None:
    document = record_of([], errors=3).to_json()
    latency = document["latency"]
    assert isinstance(latency, dict)
    assert latency["p50_ms"] is None
    assert latency["max_ms"] is None
    assert document["achieved_rps"] == 0


@given(values_us)
def test_a_record_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, latencies_us: list[int]
) -> None:
    path = tmp_path_factory.mktemp("record") / "load.json"
    document = record_of(latencies_us, errors=1).to_json()
    path.write_text(json.dumps(document))
    assert read_record(path).to_json() == document


@given(st.lists(values_us, min_size=1, max_size=4))
def test_merging_equals_having_recorded_together(parts_us: list[list[int]]) -> None:
    merged = merge([record_of(part) for part in parts_us])
    together = Histogram(value for part in parts_us for value in part)
    assert merged.latency.encode() == together.encode()
    assert merged.completed == sum(map(len, parts_us))
    assert sum(i.count for i in merged.intervals) == merged.completed
    assert merged.plan.rate_rps == 10 * len(parts_us)


def test_merging_adds_rates_and_errors_and_keeps_interruption() -> None:
    parts = [record_of([1000] * 4, errors=1), replace(record_of([2000] * 4, errors=2), interrupted=True)]
    merged = merge(parts)
    assert merged.errors == {"http_503": 3}
    assert merged.offered_rps == pytest.approx(sum(part.offered_rps for part in parts))
    assert merged.interrupted


def test_records_of_different_plans_do_not_merge() -> None:
    other = record_of([1000], plan=replace(PLAN, duration_s=3))
    with pytest.raises(RecordError, match="plans differ in duration_s: 2 and 3"):
        merge([record_of([1000]), other])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "schema is 'list'; expected 'drcio.load/1'"),
        ('{"schema": "drcio.run/1"}', "schema is 'drcio.run/1'"),
        ('{"schema": "drcio.load/1"}', "missing required field `plan`"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "load.json"
    path.write_text(text)
    with pytest.raises(RecordError) as refused:
        read_record(path)
    assert str(path) in str(refused.value)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "field", ["planned", "achieved_rps", "lag_histogram", "latency", "intervals", "plan"]
)
def test_a_malformed_field_is_refused(tmp_path: Path, field: str) -> None:
    path = tmp_path / "load.json"
    path.write_text(json.dumps({**record_of([1000]).to_json(), field: "x"}))
    with pytest.raises(RecordError, match="field missing or malformed"):
        read_record(path)


@given(st.text(max_size=50))
def test_damaged_histograms_are_value_errors(encoded: str) -> None:
    with pytest.raises(ValueError, match="not an HdrHistogram"):
        Histogram.decode(encoded)


@given(values_us)
def test_percentiles_are_within_a_thousandth(values: list[int]) -> None:
    histogram = Histogram(values)
    if not values:
        assert histogram.percentile_ms(50) is None
        return
    assert histogram.max_ms == pytest.approx(max(values) / 1000, rel=0.001)
    assert histogram.count == len(values)
