"""A Prometheus that scrapes for as long as a test looks at it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from experiments.metrics.prometheus import FOLDER, ScrapeTarget, Server, serving


@contextlib.contextmanager
def beside(results: Path, targets: Sequence[ScrapeTarget], *, rules: Sequence[Path] = ()) -> Iterator[Server]:
    """Scrape into a results folder for as long as the context lasts; a target need not be up."""
    folder = results / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(_config(targets, rules), indent=2) + "\n")
    with serving(config, folder / "data", log=folder / "prometheus.log") as server:
        yield server


def _config(targets: Sequence[ScrapeTarget], rules: Sequence[Path]) -> dict[str, object]:
    return {
        "global": dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1000ms"),
        "rule_files": [str(path.resolve()) for path in rules],
        "scrape_configs": [
            {
                "job_name": target.job,
                "honor_labels": target.own_labels,
                "static_configs": [{"targets": [target.address], "labels": dict(target.labels)}],
            }
            for target in targets
        ],
    }


def series_of(server: Server, promql: str, *, time_unix_s: float | None = None) -> list[dict[str, object]]:
    """Return the instant query's series, as the API has them; fails if it is refused."""
    form = {"query": promql, **({} if time_unix_s is None else {"time": f"{time_unix_s:.3f}"})}
    body = httpx.post(f"{server.url}/api/v1/query", data=form, timeout=30).json()
    assert body["status"] == "success", f"Prometheus refuses {promql!r}: {body.get('error')}"
    result: list[dict[str, object]] = body["data"]["result"]
    return result
