from __future__ import annotations

import pytest

from hp_service.manifest import GUARANTEED, PodOptions, pod_template
from tests.images.contract import loaded_with, plain, validate

OPTIONS = PodOptions(image="registry/hp:1", claim_name="shared")


def container(options: PodOptions) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = plain(pod_template(options))["spec"]["containers"][0]
    return found


@pytest.mark.parametrize("prepare", [True, False])
def test_template_is_a_valid_pod(prepare: bool) -> None:
    template = pod_template(PodOptions(image="registry/hp:1", claim_name="shared", prepare=prepare))
    validate(template)
    assert ("initContainers" in plain(template)["spec"]) is prepare
    assert plain(template) == template


def test_labels_and_annotations_are_the_contracts() -> None:
    metadata = pod_template(OPTIONS)["metadata"]
    assert metadata == {
        "labels": {"app": "hp-gnn-service", "drcio.io/priority": "high"},
        "annotations": {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": "8080",
            "prometheus.io/path": "/metrics",
        },
    }


def test_priority_class_can_be_overridden() -> None:
    options = PodOptions(image="i", claim_name="c", labels={"drcio.io/priority": "critical"})
    assert plain(pod_template(options))["metadata"]["labels"]["drcio.io/priority"] == "critical"


def test_container_may_write_to_its_volumes_only() -> None:
    for part in ("containers", "initContainers"):
        found = plain(pod_template(OPTIONS))["spec"][part][0]
        assert found["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert found["resources"]["requests"]
        assert found["resources"]["limits"]


def test_equal_requests_and_limits_make_the_pod_guaranteed() -> None:
    options = PodOptions(image="i", claim_name="c", resources=GUARANTEED)
    resources = container(options)["resources"]
    assert resources["requests"] == resources["limits"]


def test_start_up_time_is_what_was_asked_for() -> None:
    probe = container(PodOptions(image="i", claim_name="c", start_up_s=121))["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 121


def test_importing_the_manifest_loads_nothing_heavy() -> None:
    loaded = loaded_with("hp_service.manifest")
    assert not {"torch", "dgl", "numpy", "starlette", "uvicorn"} & loaded
