"""Open a run's Prometheus data, and what there is to scrape of a run. Loopback only."""

from __future__ import annotations

import contextlib
import datetime
import html
import json
import shutil
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

import drcio_controller.manifest as controller_manifest
import hp_service.manifest as hp_manifest
import lp_batch.manifest as lp_manifest
from experiments import workloads
from experiments.errors import ExportError
from experiments.metrics.queries import QUERIES
from node_twin.host.vm import free_ports
from node_twin.layout import NAMESPACE, NODE_NAME

FOLDER: Final = "prometheus"
"""In a results folder."""

_READY_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 30.0
_FOREVER: Final = "100y"
"""By default Prometheus deletes what is older than 15 days, also of a folder opened a year later."""
_PAGE: Final = "queries.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeTarget:
    """Something to scrape, with the labels that a PodMonitor would give it."""

    job: str
    address: str
    """HOST:PORT; its path is /metrics."""
    labels: Mapping[str, str] = field(default_factory=dict)
    own_labels: bool = False
    """Its metrics say themselves which namespace and pod they are about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Prometheus that answers."""

    url: str
    process: subprocess.Popen[bytes]


def twin_targets(url_of: Callable[[int], str]) -> tuple[ScrapeTarget, ...]:
    """Return what to scrape of a twin; `url_of` gives the host's address of a guest's port."""
    return tuple(
        ScrapeTarget(
            job=f"{NAMESPACE}/{pod}",
            address=urllib.parse.urlsplit(url_of(port)).netloc,
            labels={"namespace": NAMESPACE, "pod": pod, "node": NODE_NAME, **priority},
            own_labels=pod == workloads.CONTROLLER_POD,
        )
        for pod, port, priority in (
            (workloads.HP_POD, hp_manifest.PORT, {"priority": "high"}),
            (workloads.LP_POD, lp_manifest.METRICS_PORT, {"priority": "low"}),
            (workloads.CONTROLLER_POD, controller_manifest.PORT, {}),
        )
    )


def explore(results: Path, *, show: Callable[[str], None] = print) -> None:
    """Serve a results folder's Prometheus data on loopback until interrupted; the folder is not changed."""
    with exploring(results) as (server, page):
        show(f"{len(QUERIES)} queries on the run's data: {page}")
        for title, promql in QUERIES.items():
            show(f"  {title}\n      {promql}")
        show("Ctrl-C ends it.")
        server.process.wait()
    raise ExportError("Prometheus ended by itself", hint=f"see {results / FOLDER}")


@contextlib.contextmanager
def exploring(results: Path) -> Iterator[tuple[Server, str]]:
    """Serve a copy of the data, results stay what they were; yield the server and the page of queries.

    Raises ExportError where the folder has no such data.
    """
    data = results / FOLDER / "data"
    if not data.is_dir():
        raise ExportError(
            f"{results} has no Prometheus data: {data} does not exist",
            hint="make the run with --prometheus",
        )
    with tempfile.TemporaryDirectory(prefix="drcio-explore-") as temporary:
        scratch = Path(temporary)
        shutil.copytree(data, scratch / "data", ignore=shutil.ignore_patterns("lock", "queries.active"))
        pages = scratch / "pages"
        pages.mkdir()
        (pages / _PAGE).write_text("")
        config = scratch / "prometheus.yml"
        config.write_text("{}\n")
        with serving(config, scratch / "data", log=scratch / "log", pages=pages) as server:
            first_s, last_s = _time_range(server, scratch / "data")
            (pages / _PAGE).write_text(_render(results, first_s, last_s))
            yield server, f"{server.url}/consoles/{_PAGE}"


@contextlib.contextmanager
def serving(config: Path, data: Path, *, log: Path, pages: Path | None = None) -> Iterator[Server]:
    """Run a Prometheus on loopback; raises ExportError where it is not installed or does not start."""
    for tool, package in (("prometheus", "prometheus"), ("setpriv", "util-linux")):
        if shutil.which(tool) is None:
            raise ExportError(f"{tool} is not installed", hint=f"apt-get install {package}")
    (port,) = free_ports(1)
    command = [
        # Should this process be killed, nothing of it stays behind.
        *("setpriv", "--pdeathsig", "TERM"),
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--storage.tsdb.retention.time={_FOREVER}",
        f"--web.listen-address=127.0.0.1:{port}",
        *([f"--web.console.templates={pages}", f"--web.console.libraries={pages}"] if pages else []),
    ]
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait_until_ready(process, url, log)
            yield Server(url=url, process=process)
        finally:
            # It writes what it holds in memory; killed, it would replay its log at the next start.
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_TIMEOUT_S)
            process.kill()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/-/ready", timeout=5).is_success:
                return
        time.sleep(0.1)
    tail = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise ExportError(f"Prometheus does not start: {''.join(tail) or 'it says nothing'}", hint=f"see {log}")


def _time_range(server: Server, data: Path) -> tuple[float, float]:
    """Return when the stored samples begin and end: in blocks on disk and in what is not in one yet."""
    head = httpx.get(f"{server.url}/api/v1/status/tsdb", timeout=30).json()["data"]["headStats"]
    spans = [(head["minTime"], head["maxTime"])] if head["numSeries"] else []
    for meta in data.glob("*/meta.json"):
        block = json.loads(meta.read_text())
        spans.append((block["minTime"], block["maxTime"]))
    if not spans:
        raise ExportError("the stored Prometheus data has no sample", hint="was anything scraped at all?")
    return min(first for first, _ in spans) / 1000, max(last for _, last in spans) / 1000


def _render(results: Path, first_s: float, last_s: float) -> str:
    """Return a page of links to Prometheus's own graphs, at the time of the run."""
    end = datetime.datetime.fromtimestamp(last_s, datetime.UTC)
    rows = []
    for title, promql in QUERIES.items():
        shown = urllib.parse.urlencode(
            {
                "g0.expr": promql,
                "g0.tab": "0",
                "g0.range_input": f"{max(60, round(last_s - first_s))}s",
                "g0.end_input": f"{end:%Y-%m-%d %H:%M:%S}",
            }
        )
        rows.append(
            f'<li><a href="../graph?{html.escape(shown)}">{html.escape(title)}</a>'
            f"<br><code>{html.escape(promql)}</code></li>"
        )
    # Prometheus takes the page for a Go template: a result folder's name must not be code in it.
    name = html.escape(str(results)).replace("{{", "{ {")
    return (
        "<!doctype html><meta charset=utf-8><title>DRC-IO run</title>"
        "<style>body{font:16px/1.6 system-ui;max-width:60rem;margin:2rem auto}code{color:#555}</style>"
        f"<h1>{name}</h1><p>Until {end:%Y-%m-%d %H:%M:%S} UTC, {last_s - first_s:.0f} s.</p>"
        f"<ul>{''.join(rows)}</ul>\n"
    )
