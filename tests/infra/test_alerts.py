"""Every alert fires when it should and is silent when it should not: run by Prometheus' own promtool."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from components.alerts import AlertArgs, alert_rules
from stacks.dryrun import ROOT

ARGS = AlertArgs(
    namespace="drcio",
    controller_namespace="drcio-system",
    batch_job=True,
    percentile=95.0,
    target_s=0.1,
    floor_bytes_per_s=13_107_200.0,
    floor_ops_per_s=300.0,
)
RULES = {str(rule["alert"]): rule for rule in alert_rules(ARGS)}
JOB = 'job="drcio-system/drcio-controller"'
UP = f"up{{{JOB}}}"
FAST = 'gnn_request_latency_seconds_bucket{namespace="drcio",le="0.05"}'
SLOW = 'gnn_request_latency_seconds_bucket{namespace="drcio",le="0.5"}'
ALL = 'gnn_request_latency_seconds_bucket{namespace="drcio",le="+Inf"}'
INERT = 'drcio_io_effectiveness{state="inert",namespace="drcio",pod="p",device="259:1"}'
VALID = "drcio_config_valid"
BYTES = 'batch_io_bytes_total{namespace="drcio"}'
OPERATIONS = 'batch_io_operations_total{namespace="drcio"}'
ACTIVE = 'batch_active_operations{namespace="drcio"}'

# Series over 20 minutes, one sample a minute, in which nothing is wrong.
HEALTHY = {
    UP: "1x20",
    FAST: "0+600x20",
    SLOW: "0+600x20",
    ALL: "0+600x20",
    INERT: "0x20",
    VALID: "1x20",
    BYTES: "0+6000000000x20",
    OPERATIONS: "0+6000x20",
    ACTIVE: "16x20",
}
# What makes each alert fire, and no other.
BROKEN: dict[str, dict[str, str]] = {
    "DrcioLatencyTargetMissed": {FAST: "0x20"},
    "DrcioWeightInert": {INERT: "1x20"},
    "DrcioControllerDown": {UP: "0x20"},
    "DrcioConfigRefused": {VALID: "0x20"},
    "DrcioLowPriorityStarved": {BYTES: "0+60000000x20", OPERATIONS: "0+60x20"},
}
NEARLY: dict[str, dict[str, str]] = {
    "small operations at full IOPS starve nobody": {BYTES: "0+60000000x20", OPERATIONS: "0+60000x20"},
    "a batch job that has nothing to do is not starved": {
        BYTES: "0x20",
        OPERATIONS: "0x20",
        ACTIVE: "0x20",
    },
    "two slow minutes are no missed target": {FAST: "0+600x8 4800x2 4800+600x9"},
    "a scrape that was lost once is no outage": {UP: "1x9 0 1x10"},
}


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.fail("promtool is not installed; hint: apt-get install prometheus")
    return found


def firing(promtool: str, folder: Path, series: dict[str, str], expected: set[str]) -> str:
    """Return promtool's complaint where alerts other than the expected ones fire after 15 minutes."""
    rules = {"groups": [{"name": "drcio", "rules": list(RULES.values())}]}
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    counts = [
        # The number of firing alerts of a name: labels and texts are not what is tested here.
        {
            "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
            "eval_time": "15m",
            "exp_samples": [{"labels": "{}", "value": int(name in expected)}],
        }
        for name in RULES
    ]
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": counts,
            }
        ],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [promtool, "test", "rules", "test.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_alert_is_broken_here_on_purpose() -> None:
    assert set(BROKEN) == set(RULES)


def test_nothing_fires_in_a_healthy_run(promtool: str, tmp_path: Path) -> None:
    assert firing(promtool, tmp_path, HEALTHY, set()) == ""


@pytest.mark.parametrize("name", BROKEN)
def test_alert_fires_alone(promtool: str, tmp_path: Path, name: str) -> None:
    assert firing(promtool, tmp_path, HEALTHY | BROKEN[name], {name}) == ""


@pytest.mark.parametrize("what", NEARLY)
def test_near_miss_is_silent(promtool: str, tmp_path: Path, what: str) -> None:
    assert firing(promtool, tmp_path, HEALTHY | NEARLY[what], set()) == ""


def test_absent_controller_fires(promtool: str, tmp_path: Path) -> None:
    series = {name: values for name, values in HEALTHY.items() if name != UP}
    assert firing(promtool, tmp_path, series, {"DrcioControllerDown"}) == ""


def test_rules_are_left_out_where_they_make_no_sense() -> None:
    bare = replace(ARGS, controller_namespace=None, batch_job=False, percentile=None, target_s=None)
    assert alert_rules(bare) == []


def test_every_alert_has_its_runbook() -> None:
    text = (ROOT / "docs" / "how-to" / "alerts.md").read_text()
    assert [name for name in RULES if f"\n## {name}\n" not in text] == []
