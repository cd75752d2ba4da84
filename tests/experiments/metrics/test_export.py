import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.errors import ExportError
from experiments.metrics.export import CONTRACT_METRICS, base_name, export_metrics, shown_url, unit_of
from experiments.records.jsonfields import JsonValue

URL = "http://prometheus.test:9090"

RESULT: JsonValue = [
    {
        "metric": {"__name__": "drcio_io_weight", "pod": "hp-gnn-service", "time": "odd"},
        "values": [[1_790_000_001.5, "1000"], [1_790_000_000, "100"]],
    },
    {
        "metric": {"__name__": "gnn_request_latency_seconds_bucket", "le": "0.1"},
        "values": [[1_790_000_000, "12"]],
    },
    {
        "metric": {"__name__": "gnn_request_latency_seconds_sum"},
        "values": [[1_790_000_000, "NaN"]],
    },
]


def answering(body: JsonValue, status: int = 200) -> httpx.Client:
    return client_of(lambda _request: httpx.Response(status, json=body))


def client_of(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(handler))


def success(result: JsonValue) -> httpx.Client:
    return answering({"status": "success", "data": {"resultType": "matrix", "result": result}})


def exported(tmp_path: Path, result: JsonValue) -> list[dict[str, str]]:
    path = tmp_path / "out" / "metrics.csv"
    export_metrics(URL, 60, path, client=success(result))
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_table_is_tidy_with_units_and_a_column_for_each_label(tmp_path: Path) -> None:
    rows = exported(tmp_path, RESULT)
    assert list(rows[0]) == ["time", "metric", "unit", "le", "pod", "label_time", "value"]
    assert rows[0] == {
        "time": "2026-09-21T14:13:20.000Z",
        "metric": "drcio_io_weight",
        "unit": "weight",
        "le": "",
        "pod": "hp-gnn-service",
        "label_time": "odd",
        "value": "100.0",
    }


def test_rows_are_in_order_of_time(tmp_path: Path) -> None:
    times = [row["time"] for row in exported(tmp_path, RESULT)]
    assert times == sorted(times)


def test_values_that_are_no_number_survive(tmp_path: Path) -> None:
    (row,) = (row for row in exported(tmp_path, RESULT) if row["metric"].endswith("_sum"))
    assert (row["value"], row["unit"]) == ("nan", "seconds")


def test_raw_samples_of_the_whole_contract_are_asked_for(tmp_path: Path) -> None:
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"status": "success", "data": {"result": RESULT}})

    export = export_metrics(
        f"{URL}/prefix/", 90, tmp_path / "x.csv", now_unix_s=1_790_000_060.0, client=client_of(handler)
    )
    (request,) = asked
    assert request.url.path == "/prefix/api/v1/query"
    form = parse_qs(request.content.decode())
    assert form["time"] == ["1790000060.000"]
    (query,) = form["query"]
    assert query.endswith("[90000ms]")
    assert all(name in query for name in CONTRACT_METRICS)
    assert export.metrics == ("gnn_request_latency_seconds", "drcio_io_weight")
    assert "batch_io_bytes" in export.missing
    assert export.rows == 4


@pytest.mark.parametrize(
    ("sample", "base", "unit"),
    [
        ("gnn_requests_total", "gnn_requests", "requests"),
        ("batch_io_bytes_total", "batch_io_bytes", "bytes"),
        ("batch_io_latency_seconds_bucket", "batch_io_latency_seconds", "operations"),
        ("batch_io_latency_seconds_sum", "batch_io_latency_seconds", "seconds"),
        ("gnn_risk_score", "gnn_risk_score", "probability"),
        ("up", "up", ""),
    ],
)
def test_unit_follows_the_kind_of_sample(sample: str, base: str, unit: str) -> None:
    assert (base_name(sample), unit_of(sample)) == (base, unit)


def refused(tmp_path: Path, client: httpx.Client, url: str = URL) -> ExportError:
    path = tmp_path / "x.csv"
    with pytest.raises(ExportError) as error:
        export_metrics(url, 60, path, client=client)
    assert list(tmp_path.iterdir()) == []
    return error.value


def test_prometheus_without_these_metrics_is_told_apart_from_one_that_is_down(tmp_path: Path) -> None:
    assert "has none of the contract's metrics in the last 60 s" in str(refused(tmp_path, success([])))


def test_unreachable_prometheus_gives_the_way_to_reach_it(tmp_path: Path) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    error = refused(tmp_path, client_of(handler))
    assert "cannot reach Prometheus at http://prometheus.test:9090" in str(error)
    assert error.hint is not None
    assert "port-forward" in error.hint


def test_refused_query_gives_prometheus_own_words(tmp_path: Path) -> None:
    body: JsonValue = {"status": "error", "errorType": "bad_data", "error": "parse error"}
    assert "refused the query: parse error" in str(refused(tmp_path, answering(body, 400)))


def test_page_that_is_no_api_is_refused(tmp_path: Path) -> None:
    client = client_of(lambda _request: httpx.Response(200, text="<html>"))
    assert "no JSON" in str(refused(tmp_path, client))


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://x", "http://[", ""])
def test_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with httpx.Client() as client:
        refused(tmp_path, client, url)


def test_password_in_the_address_is_not_shown(tmp_path: Path) -> None:
    url = "http://user:secret@prometheus.test:9090"
    assert "secret" not in str(refused(tmp_path, success([]), url))
    assert shown_url(url) == URL


@pytest.mark.parametrize("name", ["metrics", "metrics.json", "metrics.csv.gz"])
def test_unknown_ending_is_refused_before_anything_is_fetched(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExportError, match=r"expected \.csv or \.parquet"):
        export_metrics("http://unreachable.invalid", 60, tmp_path / name)


def test_duration_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="duration is 0 s"):
        export_metrics(URL, 0, tmp_path / "x.csv", client=success(RESULT))


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        export_metrics(URL, 60, tmp_path / "file" / "x.csv", client=success(RESULT))


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(ExportError, match="pyarrow") as error:
        export_metrics(URL, 60, tmp_path / "x.parquet", client=success(RESULT))
    assert error.value.hint == "pip install pyarrow, or give a name that ends in .csv"


def test_parquet_holds_the_same_rows_with_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export_metrics(URL, 60, tmp_path / "x.parquet", client=success(RESULT))
    table = parquet.read_table(tmp_path / "x.parquet")
    assert table.column_names == ["time", "metric", "unit", "le", "pod", "label_time", "value"]
    assert str(table.schema.field("time").type) == "timestamp[ms, tz=UTC]"
    assert table.num_rows == 4


JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["status", "data", "result", "metric", "values"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_answer_of_any_shape_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, body: JsonValue
) -> None:
    client = client_of(lambda _request: httpx.Response(200, content=json.dumps(body)))
    with pytest.raises(ExportError):
        export_metrics(URL, 60, tmp_path_factory.getbasetemp() / "never.csv", client=client)
