"""What the stacks deploy of it: dashboards with the chart, rules with what they are about."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.observability.dashboards import BOARDS
from stacks.preview.dryrun import DryRun
from tests.stacks.dryruns import render


def rules(run: DryRun) -> dict[str, dict[str, Any]]:
    return {
        str(item.inputs["metadata"]["name"]): item.inputs["spec"]
        for item in run.registrations
        if item.type.endswith(":PrometheusRule")
    }


def test_every_dashboard_is_a_config_map_that_grafana_looks_for() -> None:
    run = render("drcio")
    (release,) = [item for item in run.registrations if item.type.endswith(":Release")]
    label = release.inputs["values"]["grafana"]["sidecar"]["dashboards"]["label"]
    shipped = {
        name: json.loads(text)["title"]
        for item in run.registrations
        if item.type.endswith(":ConfigMap") and label in item.inputs.get("metadata", {}).get("labels", {})
        for name, text in item.inputs["data"].items()
    }
    assert shipped == {f"{board.uid}.json": board.title for board in BOARDS}


@pytest.mark.parametrize(
    ("stack", "names"),
    [
        ("baseline", {"drcio-service"}),
        ("contention", {"drcio-service"}),
        ("drcio", {"drcio-service", "drcio-controller"}),
    ],
)
def test_rules_come_with_what_they_are_about(stack: str, names: set[str]) -> None:
    assert rules(render(stack, {"drcio:experiment.enabled": "false"})).keys() == names


def test_configured_target_and_floor_are_in_the_rules() -> None:
    overrides = {
        "drcio:controller.targets.high": "p99<250ms",
        "drcio:controller.floorPercent": "20",
        "drcio:storage.iops": "6000",
        "drcio:storage.throughputMibps": "250",
    }
    text = json.dumps(rules(render("drcio", overrides)))
    assert "histogram_quantile(0.99" in text
    assert "/ 0.25" in text
    assert f"< {250 * 2**20 // 5}" in text
    assert "< 1200" in text


def test_monitoring_that_is_off_leaves_no_rule_and_no_dashboard() -> None:
    run = render("drcio", {"drcio:monitoring.enabled": "false"})
    assert rules(run) == {}
    assert not [item for item in run.registrations if item.name.startswith("monitoring")]


def test_last_experiments_verdict_is_a_series() -> None:
    run = render("drcio", {"drcio:experiment.enabled": "true"})
    spec = rules(run)["drcio-experiment"]
    (group,) = spec["groups"]
    assert [rule["record"] for rule in group["rules"]] == [
        "drcio:experiment_verdict",
        "drcio:experiment_latency_seconds",
        "drcio:experiment_lp_bytes_per_second",
    ]
    assert group["rules"][0]["labels"]["scenario"] == "drcio"
