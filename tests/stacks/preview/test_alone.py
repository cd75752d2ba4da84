"""The controller alone: what is declared, that it is valid, and what does not go together with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import kubernetes_validate
import pytest
import yaml

from drcio_controller.manifest import APP_LABEL, RBAC_RULES
from stacks.errors import StackError
from stacks.preview.manifests import Manifest, manifests
from stacks.render import main
from tests.stacks.dryruns import render

# The SDKs load lazily, and warn on loading of classes of theirs that are not used here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

IMAGE: Final = f"registry.example/drcio-controller@sha256:{'1' * 64}"
ALONE: Final = {
    "drcio:workloads.enabled": "false",
    "drcio:platform": "existing",
    "drcio:experiment.enabled": "false",
    "drcio:images.build": "none",
    "drcio:images.controller": IMAGE,
}
CUSTOM_KINDS: Final = {"PodMonitor", "PrometheusRule"}


def objects(**overrides: str) -> list[Manifest]:
    return manifests(render("drcio", ALONE | {f"drcio:{key}": value for key, value in overrides.items()}))


def kinds(found: list[Manifest]) -> set[str]:
    return {str(manifest.content["kind"]) for manifest in found}


def test_it_is_the_controller_its_rights_monitors_and_dashboards() -> None:
    assert kinds(objects()) == {
        "Namespace",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "NetworkPolicy",
        "DaemonSet",
        "PodMonitor",
        "PrometheusRule",
    }


def test_without_monitoring_nothing_of_the_prometheus_operator_is_needed() -> None:
    assert not kinds(objects(**{"monitoring.enabled": "false"})) & CUSTOM_KINDS


def test_every_object_is_valid_and_in_the_controllers_namespace() -> None:
    for manifest in objects():
        if manifest.content["kind"] not in CUSTOM_KINDS:
            kubernetes_validate.validate(yaml.safe_load(manifest.as_yaml()), "1.35", strict=True)
        assert manifest.content["metadata"].get("namespace", "drcio-system") == "drcio-system"


def test_agent_and_its_rights_are_those_of_the_contract() -> None:
    found = {str(manifest.content["kind"]): manifest.content for manifest in objects()}

    assert found["ClusterRole"]["rules"] == [dict(rule) for rule in RBAC_RULES]
    template = found["DaemonSet"]["spec"]["template"]
    assert template["metadata"]["labels"] == {"app": APP_LABEL}
    assert template["spec"]["containers"][0]["image"] == IMAGE


def test_network_is_no_wider_than_dns_the_api_server_and_pods() -> None:
    (policy,) = [it.content["spec"] for it in objects() if it.content["kind"] == "NetworkPolicy"]
    assert policy["ingress"] == [
        {"from": [{"namespaceSelector": {}}], "ports": [{"port": 9400, "protocol": "TCP"}]}
    ]
    anywhere = [port for rule in policy["egress"] if "to" not in rule for port in rule["ports"]]
    assert {(port["port"], port["protocol"]) for port in anywhere} == {
        *((53, "UDP"), (53, "TCP")),
        *((443, "TCP"), (6443, "TCP"), (8443, "TCP"), (16443, "TCP")),
    }
    assert not [port for port in anywhere if "endPort" in port]


def test_policy_holds_for_the_agent_which_is_not_on_the_hosts_network() -> None:
    (agent,) = [it.content["spec"] for it in objects() if it.content["kind"] == "DaemonSet"]
    assert "hostNetwork" not in agent["template"]["spec"]


def test_namespace_is_under_one_standard_in_all_three_modes() -> None:
    (space,) = [it.content["metadata"] for it in objects() if it.content["kind"] == "Namespace"]
    modes = ("enforce", "audit", "warn")
    assert space["labels"] == {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in modes}


def test_rules_are_the_controllers_alone() -> None:
    rules = [manifest.content for manifest in objects() if manifest.content["kind"] == "PrometheusRule"]
    assert [rule["metadata"]["name"] for rule in rules] == ["drcio-controller"]
    assert "DrcioLatencyTargetMissed" not in json.dumps(rules)
    assert "DrcioLowPriorityStarved" not in json.dumps(rules), "nothing is known of the cluster's volumes"


def test_outputs_say_where_it_is() -> None:
    assert render("drcio", ALONE).outputs["namespace"].value == "drcio-system"
    elsewhere = render("drcio", {**ALONE, "drcio:namespace": "io"})
    assert elsewhere.outputs["namespace"].value == "io-system"


def test_alerts_link_to_where_the_runbooks_are_published() -> None:
    text = json.dumps([it.content for it in objects(**{"monitoring.runbooks": "https://pages.example/r"})])
    assert "https://pages.example/r/weights-inert.md" in text
    assert "runbook_url" not in json.dumps([it.content for it in objects()])


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("platform", "eks", "expected existing"),
        ("monitoring.runbooks", "docs/runbooks", "expected an address"),
        ("scenario", "baseline", "expected drcio"),
        ("controller.enabled", "false", "expected true"),
        ("experiment.enabled", "true", "expected false"),
    ],
)
def test_what_needs_the_demos_workloads_is_refused(key: str, value: str, expected: str) -> None:
    with pytest.raises(StackError, match=expected):
        objects(**{key: value})


def test_rendered_folder_is_a_kustomize_base_of_every_object(tmp_path: Path) -> None:
    options = [word for key, value in ALONE.items() for word in ("--config", f"{key}={value}")]
    assert main(["--stack", "drcio", "--output", str(tmp_path), *options]) == 0

    base = yaml.safe_load((tmp_path / "kustomization.yaml").read_text())
    assert base["kind"] == "Kustomization"
    assert sorted(tmp_path / name for name in base["resources"]) == sorted(tmp_path.glob("kubernetes/*"))
