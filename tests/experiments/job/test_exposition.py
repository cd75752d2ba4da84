import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric

from experiments.job.errors import ScrapeError
from experiments.job.exposition import Reading, read
from lp_batch.metrics import JobCollector
from lp_batch.patterns import Pattern
from lp_batch.stats import JobStats


def page_of(*metrics: Metric) -> str:
    class Source:
        def collect(self) -> list[Metric]:
            return list(metrics)

    registry = CollectorRegistry()
    registry.register(Source())
    return generate_latest(registry).decode()


@given(
    labels=st.dictionaries(
        st.sampled_from(["op", "pattern", "x"]), st.text(max_size=8), min_size=3, max_size=3
    ),
    value=st.floats(allow_nan=False),
)
def test_what_prometheus_clients_write_is_read_back(labels: dict[str, str], value: float) -> None:
    family = CounterMetricFamily("moved", "Says \\ and { and }.", labels=list(labels))
    family.add_metric(list(labels.values()), value)
    assert read(page_of(family), {"moved_total"}) == (Reading("moved_total", labels, value),)


def test_only_the_named_series_are_read() -> None:
    text = "# HELP a_total A.\n# TYPE a_total counter\na_total 1\na_total_more 2\nb 3\n"
    assert [reading.value for reading in read(text, {"a_total"})] == [1.0]


def test_timestamp_is_passed_over() -> None:
    assert read('a{b="c",} 1.5 1700000000000', {"a"}) == (Reading("a", {"b": "c"}, 1.5),)


@pytest.mark.parametrize("line", ["a", "a{", 'a{b="c" 1', "a one", "a{b=c} 1", 'a{b="c"}'])
def test_malformed_line_of_a_named_series_is_refused(line: str) -> None:
    with pytest.raises(ScrapeError, match="expected NAME"):
        read(line, {"a"})


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ScrapeError):
        read(f"a{text}", {"a"})


def test_names_are_those_that_the_batch_job_exposes() -> None:
    registry = CollectorRegistry()
    registry.register(JobCollector(JobStats(), Pattern.MIXED))
    found = read(generate_latest(registry).decode(), {"batch_io_bytes_total", "batch_io_operations_total"})
    assert {(reading.name, reading.labels["op"]) for reading in found} == {
        (name, op)
        for name in ("batch_io_bytes_total", "batch_io_operations_total")
        for op in ("read", "write")
    }
