"""Turn metrics pages that a guest kept of itself into Prometheus data, by the guest's clock.

A Prometheus beside a guest with a clock of its own would stamp what it scrapes by the host's: every rate
would be too low by as much as the guest is slower. So the guest scrapes, and promtool makes the blocks.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias, cast

from prometheus_client.parser import text_string_to_metric_families

from experiments.errors import ExportError
from experiments.metrics.prometheus import FOLDER, ScrapeTarget
from experiments.records.jsonfields import JsonObject
from experiments.records.wholefile import write_json

_PAGES: Final = "pages"

Labels: TypeAlias = tuple[tuple[str, str], ...]
Series: TypeAlias = dict[str, dict[Labels, list[tuple[float, float]]]]
"""By metric and labels: when, and what."""


def keep_pages(results: Path, run: str, pages: Sequence[JsonObject]) -> None:
    """Keep one run's pages, each with its port and its `unix_s`, until all runs are made."""
    folder = results / FOLDER / _PAGES
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{run}.json", {"pages": pages}, compact=True)


def make_blocks(results: Path, targets: Iterable[ScrapeTarget]) -> None:
    """Make Prometheus data of what was kept; raises ExportError where promtool refuses or is missing."""
    if shutil.which("promtool") is None:
        raise ExportError("promtool is not installed", hint="apt-get install prometheus")
    folder = results / FOLDER
    kept = sorted((folder / _PAGES).glob("*.json"))
    pages = [page for path in kept for page in json.loads(path.read_text())["pages"]]
    by_port = {int(target.address.rpartition(":")[2]): target for target in targets}
    series: Series = defaultdict(lambda: defaultdict(list))
    for page in pages:
        add_page(series, by_port[page["port"]], page["text"], page["unix_s"])
    source = folder / "scraped.om"
    source.write_text("\n".join(open_metrics(series)) + "\n# EOF\n")
    done = subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(source), str(folder / "data")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ExportError(f"promtool: {' '.join((done.stderr or done.stdout).split())[-300:]}")
    shutil.rmtree(folder / _PAGES)
    source.unlink()


def add_page(series: Series, target: ScrapeTarget, text: str, unix_s: float) -> None:
    """Add one page's samples under the labels that a scrape of the target gives them."""
    own = {"job": target.job, "instance": target.address, **target.labels}
    series["up"][_sorted(own)].append((unix_s, 1.0))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = _merged(own, sample.labels, honoured=target.own_labels)
            series[sample.name][_sorted(labels)].append((unix_s, float(sample.value)))


def open_metrics(series: Series) -> Iterable[str]:
    """Write the series as OpenMetrics, without types: each metric stands for itself."""
    for name, by_labels in sorted(series.items()):
        for labels, samples in sorted(by_labels.items()):
            inner = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels)
            for unix_s, value in sorted(samples):
                yield f"{name}{{{inner}}} {_number(value)} {unix_s:.3f}"


def _merged(own: Mapping[str, str], said: Mapping[str, str], *, honoured: bool) -> dict[str, str]:
    if honoured:
        return {**own, **said}
    return {**{f"exported_{key}" if key in own else key: value for key, value in said.items()}, **own}


def _sorted(labels: Mapping[str, str]) -> Labels:
    return cast(Labels, tuple(sorted(labels.items())))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else "+Inf" if value > 0 else "-Inf"
