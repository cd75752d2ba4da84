"""A Prometheus beside a run leaves data that can be opened later, and nothing else."""

from __future__ import annotations

import calendar
import contextlib
import html
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from experiments.errors import ExportError
from experiments.metrics.prometheus import FOLDER, ScrapeTarget, exploring, twin_targets
from experiments.metrics.queries import QUERIES
from tests.prometheus import beside, series_of

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")

PATIENCE_S = 60.0


@contextlib.contextmanager
def exporter() -> Iterator[str]:
    registry = CollectorRegistry()
    Gauge("drcio_io_weight", "", ["namespace", "pod"], registry=registry).labels("shop", "web").set(700)
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a results folder beside which a Prometheus has run."""
    folder = tmp_path_factory.mktemp("results")
    with exporter() as address:
        labels = {"namespace": "drcio", "pod": "agent", "node": "n"}
        own = ScrapeTarget(job="a", address=address, labels=labels, own_labels=True)
        others = ScrapeTarget(job="b", address=address, labels=labels)
        absent = ScrapeTarget(job="c", address="127.0.0.1:1")
        with beside(folder, [own, others, absent]) as server:
            deadline_s = time.monotonic() + PATIENCE_S
            while len(series_of(server, "count_over_time(drcio_io_weight[1m]) > 2")) < 2:
                assert time.monotonic() < deadline_s
                time.sleep(0.3)
        assert server.process.returncode == 0
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_stored_data_is_served_again_at_the_time_of_the_run_and_stays_as_it_is(results: Path) -> None:
    before = files_of(results)
    with exploring(results) as (server, page):
        links = re.findall(r'href="\.\./graph\?([^"]+)"', httpx.get(page).text)
        asked = [urllib.parse.parse_qs(html.unescape(link)) for link in links]
        assert [entry["g0.expr"] for entry in asked] == [[promql] for promql in QUERIES.values()]
        end = time.strptime(asked[0]["g0.end_input"][0] + " UTC", "%Y-%m-%d %H:%M:%S %Z")
        series = series_of(server, "drcio_io_weight", time_unix_s=calendar.timegm(end))
        assert httpx.get(f"{server.url}/graph?{html.unescape(links[0])}", follow_redirects=True).is_success
    seen = {(entry["metric"]["job"], entry["metric"]["namespace"]) for entry in series}  # type: ignore[index]
    assert seen == {("a", "shop"), ("b", "drcio")}
    assert server.process.poll() == 0
    assert files_of(results) == before


def test_two_can_explore_the_same_results(results: Path) -> None:
    with exploring(results) as (first, _), exploring(results) as (second, _):
        assert first.url != second.url


def test_data_takes_little_room(results: Path) -> None:
    stored = sum(path.stat().st_blocks * 512 for path in (results / FOLDER).rglob("*"))
    assert stored < 4 << 20


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import os, signal, pathlib\n"
        "from tests.prometheus import beside\n"
        f"with beside(pathlib.Path({str(tmp_path)!r}), []) as server:\n"
        "    print(server.process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    deadline_s = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def test_results_without_such_data_are_refused_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no Prometheus data") as refusal, exploring(tmp_path):
        pass
    assert "--prometheus" in str(refusal.value.hint)


def test_start_that_fails_says_prometheus_own_reason(tmp_path: Path) -> None:
    with (
        pytest.raises(ExportError, match="does not start"),
        beside(tmp_path, [ScrapeTarget(job="a", address="a/b:c")]),
    ):
        pass


def test_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.metrics.prometheus.shutil.which", lambda tool: None)
    with pytest.raises(ExportError, match="not installed") as refusal, beside(tmp_path, []):
        pass
    assert refusal.value.hint == "apt-get install prometheus"


def test_twins_targets_have_the_labels_that_a_cluster_gives() -> None:
    targets = {
        target.labels["pod"]: target for target in twin_targets(lambda port: f"http://127.0.0.1:{port + 1}")
    }
    assert targets["hp-gnn-service"].labels["priority"] == "high"
    assert targets["lp-batch"].labels["priority"] == "low"
    assert targets["drcio-controller"].own_labels
    assert {target.labels["namespace"] for target in targets.values()} == {"drcio"}
    assert all(target.address.startswith("127.0.0.1:") for target in targets.values())
