"""The small stack and the Prometheus that scrapes it, no longer alive than the module that asks for them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components.observability.rules import as_spec, controller_group, experiment_group, service_group
from drcio_controller.config import parse
from experiments.metrics.prometheus import Server
from tests.observability.rig import CONFIG, OWNER, Stack, eventually, running, scrape_targets
from tests.prometheus import beside, series_of

SETTLE_S = 15.0
"""So much is scraped before anything is asked: rates need several samples."""


@pytest.fixture(scope="module")
def rules_text() -> str:
    experiment = experiment_group(
        OWNER, scenario="drcio", verdict="pass", p95_s="0.031", lp_bytes_per_s="119000000"
    )
    config = parse(CONFIG)
    groups = (service_group(config, OWNER), controller_group(config, OWNER), experiment)
    return yaml.safe_dump(as_spec(groups), sort_keys=False)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("stack")) as addresses:
        yield addresses


@pytest.fixture(scope="module")
def prometheus(
    stack: Stack, rules_text: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Path]]:
    """Return a Prometheus that has seen the stack for a while, and the results folder that it writes into."""
    results = tmp_path_factory.mktemp("results")
    rules = results / "rules.yml"
    rules.write_text(rules_text)
    with beside(results, scrape_targets(stack), rules=[rules]) as server:
        eventually(lambda: bool(series_of(server, "count_over_time(drcio_io_weight[1m]) > 3")), "scrapes")
        time.sleep(SETTLE_S)
        yield server, results


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.fail("promtool is not installed; hint: apt-get install prometheus")
    return found
