"""Export the contract's metrics from any Prometheus into one tidy table (CSV or Parquet)."""

from __future__ import annotations

import contextlib
import csv
import datetime
import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from experiments.errors import ExportError, RecordError
from experiments.records.jsonfields import Field, JsonValue

CONTRACT_METRICS: Final = {
    "gnn_request_latency_seconds": ("seconds", "requests"),
    "gnn_feature_fetch_seconds": ("seconds", "requests"),
    "gnn_requests": ("requests", ""),
    "gnn_active_requests": ("requests", ""),
    "gnn_risk_score": ("probability", "scores"),
    "drcio_io_weight": ("weight", ""),
    "drcio_io_bytes_read": ("bytes", ""),
    "drcio_io_bytes_write": ("bytes", ""),
    "drcio_workload_discovery": ("pods", ""),
    "drcio_io_weight_applied": ("writes", ""),
    "drcio_active_pods": ("pods", ""),
    "batch_io_operations": ("operations", ""),
    "batch_io_bytes": ("bytes", ""),
    "batch_io_latency_seconds": ("seconds", "operations"),
    "batch_active_operations": ("operations", ""),
}
"""What the project promises to expose: the unit, and of a histogram what its buckets count."""

_SUFFIX: Final = re.compile(r"_(total|bucket|sum|count)$")
_LEADING: Final = ("time", "metric", "unit")
_TIMEOUT_S: Final = 30.0
_REACH_HINT: Final = (
    "on a cluster: kubectl -n monitoring port-forward svc/prometheus-kube-prometheus-prometheus 9090, "
    "then give http://localhost:9090"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stored sample of one time series."""

    time_unix_s: float
    metric: str
    unit: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What was exported."""

    path: Path
    rows: int
    metrics: tuple[str, ...]
    missing: tuple[str, ...]
    """Metrics of the contract of which this Prometheus has no sample in the time asked for."""


def export_metrics(
    prometheus_url: str,
    duration_s: float,
    output: Path,
    *,
    now_unix_s: float | None = None,
    client: httpx.Client | None = None,
) -> Export:
    """Write every sample of the last `duration_s` seconds, as it was scraped, to a file.

    The columns are time (UTC), metric, unit, one for each label, value. Without `now_unix_s` the
    time is Prometheus's own. Raises ExportError where nothing can be had or written.
    """
    write = _writer(output)
    if not duration_s > 0:
        raise ExportError(f"duration is {duration_s:g} s; expected more than 0")
    with httpx.Client(timeout=_TIMEOUT_S) if client is None else contextlib.nullcontext(client) as asked:
        rows = fetch_rows(prometheus_url, duration_s, now_unix_s=now_unix_s, client=asked)
    if not rows:
        raise ExportError(
            f"{shown_url(prometheus_url)} has none of the contract's metrics in the last {duration_s:g} s",
            hint="is this the right Prometheus, and are the pods up and scraped? "
            "its page /targets tells; a longer --duration reaches further back",
        )
    _write_whole(output, rows, write)
    found = {base_name(row.metric) for row in rows}
    return Export(
        path=output,
        rows=len(rows),
        metrics=tuple(name for name in CONTRACT_METRICS if name in found),
        missing=tuple(name for name in CONTRACT_METRICS if name not in found),
    )


def fetch_rows(
    prometheus_url: str, duration_s: float, *, now_unix_s: float | None, client: httpx.Client
) -> list[Row]:
    """Ask for the raw samples (a range selector, so nothing is interpolated), oldest first."""
    form = {"query": f"{selector()}[{max(round(duration_s * 1000), 1)}ms]"}
    if now_unix_s is not None:
        form["time"] = f"{now_unix_s:.3f}"
    shown = shown_url(prometheus_url)
    try:
        answer = client.post(prometheus_url.rstrip("/") + "/api/v1/query", data=form)
        body: JsonValue = answer.json()
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ExportError(f"{shown} is no HTTP address: {error}", hint="http://HOST:PORT") from None
    except httpx.HTTPError as error:
        raise ExportError(f"cannot reach Prometheus at {shown}: {error}", hint=_REACH_HINT) from None
    except ValueError:
        raise ExportError(
            f"{shown} answered {answer.status_code} with no JSON; expected Prometheus's API",
            hint=_REACH_HINT,
        ) from None
    try:
        rows = list(_rows(Field(body, "", shown, _REACH_HINT)))
    except RecordError as error:
        raise ExportError(str(error), hint=_REACH_HINT) from None
    return sorted(rows, key=lambda row: (row.time_unix_s, row.metric, sorted(row.labels.items())))


def selector() -> str:
    """Return the PromQL selector of all contract metrics, with the suffixes that samples carry."""
    return f'{{__name__=~"({"|".join(CONTRACT_METRICS)})(_total|_bucket|_sum|_count)?"}}'


def base_name(sample_name: str) -> str:
    """Return a metric's name from that of its sample."""
    return sample_name if sample_name in CONTRACT_METRICS else _SUFFIX.sub("", sample_name)


def unit_of(sample_name: str) -> str:
    """Return a sample's unit: a histogram's buckets and count are in what it counts."""
    unit, counts = CONTRACT_METRICS.get(base_name(sample_name), ("", ""))
    return counts if counts and sample_name.endswith(("_bucket", "_count")) else unit


def shown_url(url: str) -> str:
    """Return an address fit for messages: without the password that it may carry."""
    return re.sub(r"//[^/@]*@", "//", url)


def _rows(body: Field) -> Iterable[Row]:
    if body.get("status").text() != "success":
        error = body.find("error")
        raise RecordError(
            f"{body.source} refused the query: {'no reason' if error is None else error.text()}"
        )
    for series in body.get("data").get("result").items():
        labels = {name: value.text() for name, value in series.get("metric").entries().items()}
        name = labels.pop("__name__", "")
        for sample in series.get("values").items():
            pair = sample.items()
            if len(pair) != 2:
                raise sample.refuse("a time and a value")
            yield Row(
                time_unix_s=pair[0].number(),
                metric=name,
                unit=unit_of(name),
                labels=labels,
                value=_value(pair[1]),
            )


def _value(field: Field) -> float:
    """Read a sample's value, which Prometheus writes as text (also `NaN` and `+Inf`)."""
    try:
        return float(field.text())
    except ValueError:
        raise field.refuse("a number as text") from None


def _columns(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return each label with the column that it gets; one named as a fixed column is prefixed."""
    labels = sorted({label for row in rows for label in row.labels})
    return [(label, f"label_{label}" if label in (*_LEADING, "value") else label) for label in labels]


def _utc(unix_s: float) -> str:
    moment = datetime.datetime.fromtimestamp(unix_s, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    columns = _columns(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*_LEADING, *(column for _, column in columns), "value"])
        for row in rows:
            labels = [row.labels.get(label, "") for label, _ in columns]
            writer.writerow([_utc(row.time_unix_s), row.metric, row.unit, *labels, repr(row.value)])


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    times = [datetime.datetime.fromtimestamp(row.time_unix_s, datetime.UTC) for row in rows]
    table = arrow.table(
        {
            "time": arrow.array(times, type=arrow.timestamp("ms", tz="UTC")),
            "metric": [row.metric for row in rows],
            "unit": [row.unit for row in rows],
            **{column: [row.labels.get(label) for row in rows] for label, column in _columns(rows)},
            "value": arrow.array([row.value for row in rows], type=arrow.float64()),
        }
    )
    parquet.write_table(table, path)


def _writer(output: Path) -> Callable[[Path, Sequence[Row]], None]:
    """Choose the format before anything is fetched, so that a wrong one costs no waiting."""
    match output.suffix.lower():
        case ".csv":
            return _write_csv
        case ".parquet":
            try:
                importlib.import_module("pyarrow.parquet")
            except ImportError:
                raise ExportError(
                    f"{output}: Parquet needs the package pyarrow, which is not installed",
                    hint="pip install pyarrow, or give a name that ends in .csv",
                ) from None
            return _write_parquet
        case ending:
            raise ExportError(f"{output}: the ending is {ending!r}; expected .csv or .parquet")


def _write_whole(output: Path, rows: Sequence[Row], write: Callable[[Path, Sequence[Row]], None]) -> None:
    """Write beside the file and rename, so that a reader never finds half of one."""
    partial = output.with_name(f".{output.name}.partial")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write(partial, rows)
        partial.replace(output)
    except OSError as error:
        raise ExportError(f"{output}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
