"""The container contract: least privilege, and what the agent needs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from drcio_controller import cli
from drcio_controller.config import PolicyName
from drcio_controller.kube.jsontypes import JsonObject
from drcio_controller.manifest import APP_LABEL, PORT, RBAC_RULES, pod_template


def container(template: JsonObject) -> JsonObject:
    spec = template["spec"]
    assert isinstance(spec, dict)
    containers = spec["containers"]
    assert isinstance(containers, list)
    (only,) = containers
    assert isinstance(only, dict)
    return only


def test_template_asks_for_no_privilege() -> None:
    security = container(pod_template(image="drcio:1"))["securityContext"]

    assert isinstance(security, dict)
    assert security["privileged"] is False
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize(("policy", "expected"), [(PolicyName.DRCIO, False), (PolicyName.BFQ, True)])
def test_only_bfq_gets_a_writable_sysfs(policy: PolicyName, expected: bool) -> None:
    mounts = container(pod_template(image="drcio:1", policy=policy))["volumeMounts"]

    assert isinstance(mounts, list)
    assert any(isinstance(mount, dict) and mount["mountPath"] == "/host/sys" for mount in mounts) is expected


def test_commands_in_the_container_find_the_agents_tree_by_its_environment() -> None:
    """`kubectl exec` has the environment and not the arguments."""
    environment = container(pod_template(image="drcio:1", policy=PolicyName.BFQ))["env"]

    assert isinstance(environment, list)
    names = {entry["name"] for entry in environment if isinstance(entry, dict)}
    read = set(re.findall(r"DRCIO_[A-Z_]+", Path(cli.__file__).read_text()))
    assert read <= names


def test_template_carries_the_contracts_label_and_port() -> None:
    template = pod_template(image="drcio:1")

    assert template["metadata"] == {
        "labels": {"app": APP_LABEL},
        "annotations": {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(PORT),
            "prometheus.io/path": "/metrics",
        },
    }


def test_rights_are_to_read_what_classes_come_from_and_to_write_events() -> None:
    verbs = {str(rule["resources"]): rule["verbs"] for rule in RBAC_RULES}

    assert verbs == {
        "['pods']": ["get", "list", "watch"],
        "['namespaces']": ["get", "list", "watch"],
        "['nodes']": ["get"],
        "['events']": ["create", "patch"],
    }


def test_manifest_is_light_to_import() -> None:
    program = (
        "import sys, drcio_controller.manifest;"
        "print([name for name in ('prometheus_client', 'urllib3', 'starlette') if name in sys.modules])"
    )

    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"
