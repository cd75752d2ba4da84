"""Pages that a guest kept of itself become data that a real Prometheus serves."""

import shutil
from pathlib import Path

import pytest

from experiments.metrics.prometheus import ScrapeTarget, exploring
from experiments.metrics.scraped import keep_pages, make_blocks
from tests.prometheus import series_of

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not installed")

BEGUN_UNIX_S = 1_790_000_000.0
LABELS = {"namespace": "drcio", "pod": "hp", "node": "n"}
TARGETS = (
    ScrapeTarget(job="hp", address="127.0.0.1:8080", labels=LABELS),
    ScrapeTarget(job="agent", address="127.0.0.1:9400", labels=LABELS, own_labels=True),
)


def pages(count: int) -> list[dict[str, str | int | float]]:
    """Return a page of each target a second: fifty requests more each time, and a pod's weight."""
    odd = 'odd{text="a \\"b\\" \\\\ c"} NaN\n'
    requests = '# TYPE gnn_requests counter\ngnn_requests_total{pod="x"} '
    found: list[dict[str, str | int | float]] = []
    for second in range(count):
        texts = {8080: f"{requests}{50 * second}\n{odd}", 9400: 'drcio_io_weight{pod="hp-of-its-own"} 1000\n'}
        found += [
            {"unix_s": BEGUN_UNIX_S + second, "port": port, "text": text} for port, text in texts.items()
        ]
    return found


def test_rates_are_those_of_the_guests_clock(tmp_path: Path) -> None:
    keep_pages(tmp_path, "01-baseline-r1", pages(20))
    make_blocks(tmp_path, TARGETS)
    end_s = BEGUN_UNIX_S + 19
    with exploring(tmp_path) as (server, _):
        (rate,) = series_of(server, "rate(gnn_requests_total[15s])", time_unix_s=end_s)
        (weight,) = series_of(server, "drcio_io_weight", time_unix_s=end_s)
        up = series_of(server, "up", time_unix_s=end_s)
        (odd,) = series_of(server, "odd", time_unix_s=end_s)
    assert float(rate["value"][1]) == pytest.approx(50)  # type: ignore[index]
    assert rate["metric"] == {
        "job": "hp",
        "instance": "127.0.0.1:8080",
        "namespace": "drcio",
        "pod": "hp",
        "node": "n",
        "exported_pod": "x",
    }
    assert weight["metric"]["pod"] == "hp-of-its-own"  # type: ignore[index]
    assert {entry["metric"]["job"] for entry in up} == {"hp", "agent"}  # type: ignore[index]
    assert odd["metric"]["text"] == 'a "b" \\ c'  # type: ignore[index]


def test_nothing_but_the_data_is_left(tmp_path: Path) -> None:
    keep_pages(tmp_path, "01-baseline-r1", pages(3))
    make_blocks(tmp_path, TARGETS)
    assert [path.name for path in (tmp_path / "prometheus").iterdir()] == ["data"]
