"""Every alert fires when it should and is silent when it should not: Prometheus's own promtool says so."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from components.observability.rules import (
    RUNBOOKS,
    AlertRule,
    Owner,
    as_spec,
    controller_group,
    service_group,
)
from drcio_controller.config import Config, VolumeProfile, parse
from tests.observability.rig import OWNER

CONFIG = Config(volumes=(VolumeProfile(iops=3000, mib_s=125),))
GROUPS = (service_group(CONFIG, OWNER), controller_group(CONFIG, OWNER))
ALERTS = {rule.alert: rule for group in GROUPS for rule in group.rules if isinstance(rule, AlertRule)}
MINUTES = 20

POD = 'namespace="drcio", pod="p", node="n", priority="high"'
FAST, SLOW, ALL = (
    f'gnn_request_latency_seconds_bucket{{{POD}, le="{le}"}}' for le in ("0.05", "0.5", "+Inf")
)
INERT = f'drcio_io_effectiveness{{{POD}, device="259:1", state="inert"}}'
VALID = 'drcio_config_valid{namespace="drcio-system", pod="c", node="n"}'
UP = 'up{job="drcio-system/drcio-controller", namespace="drcio-system", pod="c", node="n"}'
SCRAPED = f'up{{job="drcio/hp-gnn-service", {POD}}}'
BATCH = 'namespace="drcio", pod="b", node="n", priority="low"'
READ, WRITTEN, IOS = (
    f'{name}_total{{{BATCH}, device="259:1"}}'
    for name in ("drcio_io_bytes_read", "drcio_io_bytes_write", "drcio_io_operations")
)
STALL = f"drcio_io_stall_ratio{{{BATCH}}}"
AGENT = 'namespace="drcio-system", pod="c", node="n"'
STANDBY = f'drcio_agent_standby{{{AGENT}, reason="locked"}}'
WITHDRAWN, WAITS = (
    f'{name}{{{AGENT}, device="259:1", name="nvme1n1"}}'
    for name in ("drcio_device_withdrawn", "drcio_device_writes_wait_seconds")
)
LABELS = 'kube_pod_labels{namespace="drcio", pod="q", label_drcio_io_priority="high"}'
INFO = 'kube_pod_info{namespace="drcio", pod="q", node="far"}'
PHASE = 'kube_pod_status_phase{namespace="drcio", pod="q", phase="Running"}'

Series = Mapping[str, str]

HEALTHY: Series = {
    FAST: "0+600x20",
    SLOW: "0+600x20",
    ALL: "0+600x20",
    INERT: "0x20",
    VALID: "1x20",
    UP: "1x20",
    SCRAPED: "1x20",
    READ: "0+6000000000x20",
    WRITTEN: "0x20",
    IOS: "0+6000x20",
    STALL: "0.9x20",
    STANDBY: "0x20",
    WITHDRAWN: "0x20",
    WAITS: "0x20",
}
"""One sample a minute, in which nothing is wrong."""
BROKEN: dict[str, tuple[str, Series]] = {
    "slow": ("DrcioLatencyTargetMissed", {FAST: "0x20"}),
    "inert": ("DrcioWeightsInert", {INERT: "1x20"}),
    "controller does not answer": ("DrcioControllerDown", {UP: "0x20"}),
    "controller is gone": ("DrcioControllerDown", {UP: "_x20"}),
    "pod that nobody scrapes": ("DrcioControllerDown", {LABELS: "1x20", INFO: "1x20", PHASE: "1x20"}),
    "refused": ("DrcioConfigRefused", {VALID: "0x20"}),
    "passive": ("DrcioAgentStandby", {STANDBY: "1x20"}),
    "does not help": ("DrcioControlWithdrawn", {WITHDRAWN: "0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1"}),
    "stopped": ("DrcioDeviceStopped", {WAITS: "0+60x20"}),
    "starved": ("DrcioLowPriorityStarved", {READ: "0+60000000x20", IOS: "0+60x20"}),
}
NEARLY: dict[str, Series] = {
    "small operations at full IOPS": {READ: "0+60000000x20", IOS: "0+60000x20"},
    "a batch job that wants no more": {READ: "0x20", IOS: "0x20", STALL: "0x20"},
    "two slow minutes": {FAST: "0+600x8 4800x2 5400+600x9"},
    "one lost scrape": {UP: "1x9 0 1x10"},
    "no requests at all": {FAST: "0x20", SLOW: "0x20", ALL: "0x20"},
    "a finished pod where no controller is": {LABELS: "1x20", INFO: "1x20", PHASE: "0x20"},
    "another stack's node without a controller": {
        'up{job="other/hp", namespace="other", pod="x", node="y", priority="high"}': "1x20"
    },
    "an agent that waits for its predecessor": {STANDBY: "1x3 0x16"},
    "control that was withdrawn once": {WITHDRAWN: "0x9 1 0x10"},
    "a write that waited for a moment": {WAITS: "0x5 2 0x14"},
    "a weight that was inert for a minute": {INERT: "0x5 1 0x14"},
}


def complaint(promtool: str, folder: Path, series: Series, expected: set[str]) -> str:
    """Return what promtool objects where others than the expected alerts fire after a quarter of an hour."""
    (folder / "rules.yml").write_text(yaml.safe_dump(as_spec(GROUPS)))
    # The number of firing alerts by name: labels and texts have a test of their own.
    counts = [
        {
            "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)',
            "eval_time": "15m",
            "exp_samples": [{"labels": "{}", "value": int(name in expected)}],
        }
        for name in ALERTS
    ]
    return run_tests(promtool, folder, series, {"promql_expr_test": counts})


def run_tests(promtool: str, folder: Path, series: Series, checks: Mapping[str, object]) -> str:
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        **checks,
    }
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yml").write_text(yaml.safe_dump(document))
    return promtool_says(promtool, folder, "test", "rules", "test.yml")


def promtool_says(promtool: str, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [promtool, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("whole_cluster", [True, False])
@pytest.mark.parametrize(
    "config", [CONFIG, Config(), parse("classes:\n  a: {weight: 10, latency_target: p99.9<1.5s}\n")]
)
def test_promtool_accepts_the_rules(
    promtool: str, tmp_path: Path, config: Config, whole_cluster: bool
) -> None:
    owner = Owner(namespace="a", system_namespace="b", whole_cluster=whole_cluster)
    groups = (service_group(config, owner), controller_group(config, owner))
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(as_spec(groups)))

    assert promtool_says(promtool, tmp_path, "check", "rules", "--lint-fatal", "rules.yml") == ""


def test_nothing_fires_in_a_healthy_run(promtool: str, tmp_path: Path) -> None:
    assert complaint(promtool, tmp_path, HEALTHY, set()) == ""


def test_every_alert_is_broken_here_on_purpose() -> None:
    assert {alert for alert, _ in BROKEN.values()} == set(ALERTS)


@pytest.mark.parametrize("what", BROKEN)
def test_alert_fires_alone(promtool: str, tmp_path: Path, what: str) -> None:
    alert, series = BROKEN[what]
    assert complaint(promtool, tmp_path, {**HEALTHY, **series}, {alert}) == ""


@pytest.mark.parametrize("what", NEARLY)
def test_near_miss_is_silent(promtool: str, tmp_path: Path, what: str) -> None:
    assert complaint(promtool, tmp_path, {**HEALTHY, **NEARLY[what]}, set()) == ""


def test_promtool_would_object_to_an_alert_that_does_not_fire(promtool: str, tmp_path: Path) -> None:
    assert "DrcioConfigRefused" in complaint(promtool, tmp_path, HEALTHY, {"DrcioConfigRefused"})


def test_missed_target_says_who_and_by_how_much(promtool: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(as_spec(GROUPS)))
    fired = {
        "exp_labels": {
            "severity": "critical",
            "namespace": "drcio",
            "pod": "p",
            "node": "n",
            "priority": "high",
            "percentile": "95",
        },
        "exp_annotations": {
            "summary": "drcio/p misses its latency target",
            "description": "The 95th percentile of its latency has been 4.775 times the target of class high "
            "for five minutes.",
            "runbook": "docs/runbooks/latency-target-missed.md",
        },
    }
    check = {"eval_time": "15m", "alertname": "DrcioLatencyTargetMissed", "exp_alerts": [fired]}

    said = run_tests(promtool, tmp_path, {**HEALTHY, FAST: "0x20"}, {"alert_rule_test": [check]})

    assert said == ""


@pytest.mark.parametrize("rule", ALERTS.values(), ids=list(ALERTS))
def test_every_alert_has_its_page(rule: AlertRule) -> None:
    page = Path(__file__).parents[2] / RUNBOOKS / f"{rule.runbook}.md"
    assert page.read_text().startswith(f"# {rule.alert}\n")


def test_alerts_link_to_their_pages_where_these_are_published() -> None:
    spec = json.dumps(as_spec(GROUPS, "https://pages.example/runbooks/"))
    for rule in ALERTS.values():
        assert f'"runbook_url": "https://pages.example/runbooks/{rule.runbook}.md"' in spec
    assert '"runbook":' not in spec


def test_without_a_known_volume_there_is_no_floor_to_miss() -> None:
    config = Config()
    assert not config.volumes
    alerts = {rule.alert for rule in controller_group(config, OWNER).rules if isinstance(rule, AlertRule)}
    assert alerts == ALERTS.keys() - {"DrcioLatencyTargetMissed", "DrcioLowPriorityStarved"}


def test_rules_about_the_controller_are_not_about_the_demos_service() -> None:
    """Beside somebody's own workloads there is no metric of that name, and no target that nobody has set."""
    assert "gnn_" not in json.dumps(as_spec([controller_group(CONFIG, OWNER)]))
