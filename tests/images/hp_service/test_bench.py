from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hp_service.bench import BenchOptions, BenchReport, format_report, run_bench
from hp_service.dataset import Metadata
from hp_service.errors import BenchError

REPORT = BenchReport(
    requests=10,
    read_path="o_direct+aio",
    rows_per_request=28.5,
    request_p50_ms=3.0,
    request_p95_ms=4.0,
    sample_p50_ms=0.1,
    fetch_p50_ms=0.6,
    model_p50_ms=0.4,
    server_cpu_ms=1.2,
    fio_burst_p50_ms=0.5,
    model_alone_p50_ms=0.25,
)


def test_ratios_compare_the_request_with_its_unavoidable_parts() -> None:
    assert REPORT.request_ratio == 4.0
    assert REPORT.fetch_ratio == pytest.approx(1.2)
    assert json.loads(REPORT.to_json())["request_ratio"] == 4.0
    assert "request / (fio + model) = 4.00; fetch / fio = 1.20" in format_report(REPORT)


@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
def test_bench_measures_a_real_server(prepared: tuple[Path, Metadata]) -> None:
    report = run_bench(BenchOptions(data_dir=prepared[0], requests=30, seed=1, allow_aio=True))
    assert 0 < report.fetch_p50_ms < report.request_p50_ms
    assert report.fio_burst_p50_ms > 0
    assert report.model_alone_p50_ms > 0


def test_missing_fio_is_said(prepared: tuple[Path, Metadata], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    options = BenchOptions(data_dir=prepared[0], requests=2, seed=1, allow_aio=True)
    with pytest.raises(BenchError, match="fio is not installed"):
        run_bench(options)
