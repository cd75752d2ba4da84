"""Hold the export against a real Prometheus that scrapes metrics of the contract."""

import csv
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from experiments.errors import ExportError
from experiments.metrics.export import export_metrics
from node_twin.host.vm import free_ports

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")

_START_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    registry = CollectorRegistry()
    Gauge("drcio_io_weight", "", ["pod"], registry=registry).labels("hp").set(1000)
    Counter("batch_io_bytes", "", ["op"], registry=registry).labels("read").inc(4096)
    Histogram("gnn_request_latency_seconds", "", buckets=(0.1, 1), registry=registry).observe(0.05)
    Gauge("not_ours", "", registry=registry).set(1)
    folder, port = tmp_path_factory.mktemp("prometheus"), free_ports(1)[0]
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"- {{job_name: ours, static_configs: [{{targets: ['127.0.0.1:{server.server_port}']}}]}}\n"
    )
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait_for_samples(url)
            yield url
        finally:
            process.terminate()
            server.shutdown()
            server.server_close()
            thread.join()


def _wait_for_samples(url: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(
                f"{url}/api/v1/query", params={"query": "count_over_time(drcio_io_weight[1m]) > 1"}
            )
            # While it still reads its log, Prometheus answers 503 and no JSON.
            if answer.is_success and answer.json()["data"]["result"]:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    pytest.fail("Prometheus did not scrape in time")


def test_every_stored_sample_of_the_contract_is_exported(prometheus: str, tmp_path: Path) -> None:
    export = export_metrics(prometheus, 60, tmp_path / "metrics.csv")
    with export.path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["metric"], row["unit"]) for row in rows} == {
        ("drcio_io_weight", "weight"),
        ("batch_io_bytes_total", "bytes"),
        ("gnn_request_latency_seconds_bucket", "requests"),
        ("gnn_request_latency_seconds_count", "requests"),
        ("gnn_request_latency_seconds_sum", "seconds"),
    }
    weights = [row for row in rows if row["metric"] == "drcio_io_weight"]
    assert len(weights) >= 2
    assert {(row["pod"], row["value"], row["job"]) for row in weights} == {("hp", "1000.0", "ours")}
    assert len({row["time"] for row in weights}) == len(weights)


def test_time_before_the_first_sample_has_none(prometheus: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="has none of the contract's metrics"):
        export_metrics(prometheus, 60, tmp_path / "x.csv", now_unix_s=time.time() - 86_400)
