"""Measure what the service itself costs: a request against the same reads by fio plus the model alone."""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from hp_service import dataset
from hp_service.architecture import SLOTS
from hp_service.errors import BenchError
from hp_service.graph import load_graph
from hp_service.manifest import ROW_BYTES
from hp_service.weights import load_weights

HOST = "127.0.0.1"
START_UP_S = 300.0
WARM_UP_REQUESTS = 50


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    data_dir: Path
    requests: int
    seed: int
    allow_aio: bool


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """Medians over the requests of one run, one request at a time."""

    requests: int
    read_path: str
    rows_per_request: float
    request_p50_ms: float
    """As the client sees it, over a kept connection."""
    request_p95_ms: float
    sample_p50_ms: float
    fetch_p50_ms: float
    model_p50_ms: float
    server_cpu_ms: float
    """User and system time of the server per request."""
    fio_burst_p50_ms: float
    """The same rows read by fio, as many at once as a request reads."""
    model_alone_p50_ms: float
    """The model on features that are in memory already, in a process of its own."""

    @property
    def request_ratio(self) -> float:
        """The request over the sum of the parts that it cannot do without."""
        return self.request_p50_ms / (self.fio_burst_p50_ms + self.model_alone_p50_ms)

    @property
    def fetch_ratio(self) -> float:
        return self.fetch_p50_ms / self.fio_burst_p50_ms

    def to_json(self) -> str:
        ratios = {"request_ratio": self.request_ratio, "fetch_ratio": self.fetch_ratio}
        return json.dumps({**asdict(self), **ratios}, indent=2)


def format_report(report: BenchReport) -> str:
    """Lay the report out for a terminal."""
    lines = (
        f"{report.requests} requests one after the other, {report.rows_per_request:.1f} rows of 4 KiB each, "
        f"{report.read_path}",
        f"request p50 {report.request_p50_ms:.2f} ms, p95 {report.request_p95_ms:.2f} ms "
        f"(sample {report.sample_p50_ms:.2f}, fetch {report.fetch_p50_ms:.2f}, "
        f"model {report.model_p50_ms:.2f}); server CPU {report.server_cpu_ms:.2f} ms",
        f"fio, the same rows {report.fio_burst_p50_ms:.2f} ms; "
        f"model alone {report.model_alone_p50_ms:.2f} ms",
        f"request / (fio + model) = {report.request_ratio:.2f}; fetch / fio = {report.fetch_ratio:.2f}",
    )
    return "\n".join(lines)


def run_bench(options: BenchOptions) -> BenchReport:
    """Run the three measurements. Raises BenchError if the server does not start or fio fails."""
    metadata = dataset.load_metadata(options.data_dir)
    graph = load_graph(options.data_dir / dataset.GRAPH_FILE)
    rng = np.random.default_rng(options.seed)
    ids = rng.integers(graph.reviews, size=options.requests)
    bursts = [np.unique(graph.neighbourhood(ids[i : i + 1])) for i in range(len(ids))]
    rows_per_request = statistics.fmean(len(burst) for burst in bursts)

    with _server(options) as (port, pid), closing(_Client(port)) as client:
        read_path = client.read_path()
        # Every row once: a caching layer below the file system then serves both sides alike.
        for review in ids.tolist():
            client.score(review)
        cpu_before_s = _cpu_s(pid)
        timed = [client.score(review) for review in ids.tolist()]
        cpu_s = _cpu_s(pid) - cpu_before_s
    fio_ms = _fio_burst_p50_ms(options.data_dir / dataset.FEATURES_FILE, bursts, read_path)
    features = len(metadata.inputs.features)
    requests_ms = sorted(request.total_ms for request in timed)
    return BenchReport(
        requests=options.requests,
        read_path=read_path,
        rows_per_request=rows_per_request,
        request_p50_ms=statistics.median(requests_ms),
        request_p95_ms=requests_ms[int(0.95 * (len(requests_ms) - 1))],
        sample_p50_ms=statistics.median(request.parts_ms["sample"] for request in timed),
        fetch_p50_ms=statistics.median(request.parts_ms["fetch"] for request in timed),
        model_p50_ms=statistics.median(request.parts_ms["model"] for request in timed),
        server_cpu_ms=cpu_s * 1000 / options.requests,
        fio_burst_p50_ms=fio_ms,
        model_alone_p50_ms=_model_alone_p50_ms(options.data_dir / dataset.WEIGHTS_FILE, features),
    )


@dataclass(frozen=True, kw_only=True)
class _Request:
    total_ms: float
    parts_ms: dict[str, float]


class _Client:
    """One kept connection to the server."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def read_path(self) -> str:
        self._connection.request("GET", "/readyz")
        return str(json.loads(self._connection.getresponse().read())["read_path"])

    def score(self, review: int) -> _Request:
        started = time.perf_counter()
        self._connection.request("POST", "/score", json.dumps({"id": review}))
        response = self._connection.getresponse()
        body = response.read()
        total_ms = (time.perf_counter() - started) * 1000
        if response.status != 200:
            raise BenchError(f"the server answered {response.status}: {body[:200]!r}")
        entries = (entry.split(";dur=") for entry in response.headers["Server-Timing"].split(", "))
        return _Request(total_ms=total_ms, parts_ms={name: float(value) for name, value in entries})


@contextmanager
def _server(options: BenchOptions) -> Iterator[tuple[int, int]]:
    """Run the server as users do; give its port and process id."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "hp_service", "serve", "--data", str(options.data_dir)]
    command += ["--host", HOST, "--port", str(port), *(() if options.allow_aio else ("--no-aio",))]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + START_UP_S
        while not _answers(port):
            if process.poll() is not None:
                raise BenchError(f"the server ended with status {process.returncode} while starting")
            if time.monotonic() > deadline:
                raise BenchError(f"the server was not ready within {START_UP_S:.0f} s")
            time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _cpu_s(pid: int) -> float:
    # proc(5): utime and stime are fields 14 and 15; the command name before them may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _model_alone_p50_ms(weights: Path, features: int) -> float:
    torch.set_num_threads(1)
    model = load_weights(weights, features)
    inputs = torch.randn(1, SLOTS, features)
    times_ms = []
    with torch.inference_mode():
        for _ in range(WARM_UP_REQUESTS + 300):
            started = time.perf_counter()
            model(inputs)
            times_ms.append((time.perf_counter() - started) * 1000)
    return statistics.median(times_ms[WARM_UP_REQUESTS:])


def _fio_burst_p50_ms(path: Path, bursts: list[np.ndarray], read_path: str) -> float:
    """Replay the rows with fio, a request's worth in flight at once; return the time of a burst.

    fio submits a whole batch and reaps it as a whole, so that each read's latency is its burst's.
    """
    depth = round(statistics.fmean(len(burst) for burst in bursts))
    absolute = path.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "reads.log"
        with log.open("w") as file:
            file.write(f"fio version 2 iolog\n{absolute} add\n{absolute} open\n")
            for row in np.concatenate(bursts).tolist():
                file.write(f"{absolute} read {row * ROW_BYTES} {ROW_BYTES}\n")
            file.write(f"{absolute} close\n")
        command = ["fio", "--name=bench", "--ioengine=libaio", "--readonly", "--output-format=json"]
        command += [f"--read_iolog={log}", f"--direct={int(read_path.startswith('o_direct'))}"]
        command += [f"--iodepth={depth}", f"--iodepth_batch={depth}", f"--iodepth_batch_complete_min={depth}"]
        command += [f"--iodepth_batch_complete_max={depth}", "--lat_percentiles=1", "--clat_percentiles=0"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise BenchError("fio is not installed", hint="install the package `fio`") from error
    if done.returncode != 0:
        raise BenchError(f"fio failed: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
    result = json.loads(done.stdout[done.stdout.index("{") :])
    nanoseconds: float = result["jobs"][0]["read"]["lat_ns"]["percentile"]["50.000000"]
    return nanoseconds / 1e6
