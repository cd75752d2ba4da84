"""The container contract: least privilege, and what the agent needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from drcio_controller import cli
from drcio_controller.config import PolicyName
from drcio_controller.kube.jsontypes import JsonObject
from drcio_controller.manifest import APP_LABEL, PORT, RBAC_RULES, pod_template
from tests.images.contract import loaded_with, plain


def container(template: JsonObject) -> dict[str, Any]:
    (only,) = plain(template)["spec"]["containers"]
    return dict(only)


def test_template_asks_for_no_privilege() -> None:
    security = container(pod_template(image="drcio:1"))["securityContext"]

    assert security["privileged"] is False
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize(("policy", "expected"), [(PolicyName.DRCIO, False), (PolicyName.BFQ, True)])
def test_only_bfq_gets_a_writable_sysfs(policy: PolicyName, expected: bool) -> None:
    mounts = container(pod_template(image="drcio:1", policy=policy))["volumeMounts"]

    assert any(mount["mountPath"] == "/host/sys" for mount in mounts) is expected


def test_commands_in_the_container_find_the_agents_tree_by_its_environment() -> None:
    """`kubectl exec` has the environment and not the arguments."""
    environment = container(pod_template(image="drcio:1", policy=PolicyName.BFQ))["env"]

    names = {entry["name"] for entry in environment}
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
    loaded = loaded_with("drcio_controller.manifest")
    assert not {"prometheus_client", "urllib3", "starlette"} & loaded
