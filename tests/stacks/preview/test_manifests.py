"""Every rendered object is one that the configured Kubernetes would accept, unknown fields refused."""

from __future__ import annotations

import kubernetes_validate
import pytest
import yaml

from stacks.preview.manifests import Manifest, manifests
from tests.stacks.dryruns import GIVEN_IMAGES, render

STACKS = ("dev", "baseline", "contention", "drcio")
VERSIONS = ("1.35", "1.36")
CUSTOM_KINDS = {"PodMonitor", "PrometheusRule"}
"""Defined by kube-prometheus-stack, unknown to Kubernetes' own schemas."""


def objects(stack: str, overrides: dict[str, str] | None = None) -> list[Manifest]:
    return manifests(render(stack, overrides))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stack", STACKS)
def test_every_object_is_valid_in_strict_mode(stack: str, version: str) -> None:
    checked = 0
    for manifest in objects(stack):
        if manifest.content["kind"] in CUSTOM_KINDS:
            continue
        kubernetes_validate.validate(yaml.safe_load(manifest.as_yaml()), version, strict=True)
        checked += 1
    assert checked >= 8


@pytest.mark.parametrize(
    "overrides",
    [
        {"drcio:experiment.enabled": "true"},
        {"drcio:platformStack": "acme/drcio-eks/dev"},
        {"drcio:platform": "existing", **GIVEN_IMAGES},
        {
            "drcio:batch.operations": "1000",
            "drcio:batch.rateMibps": "20",
            "drcio:service.loadBalancer": "true",
        },
    ],
)
def test_every_object_of_another_configuration_is_valid_too(overrides: dict[str, str]) -> None:
    for manifest in objects("drcio", overrides):
        if manifest.content["kind"] not in CUSTOM_KINDS:
            kubernetes_validate.validate(yaml.safe_load(manifest.as_yaml()), "1.35", strict=True)


def test_strict_mode_refuses_a_field_that_does_not_exist() -> None:
    deployment = next(item.content for item in objects("drcio") if item.content["kind"] == "Deployment")
    broken = {**deployment, "spec": {**deployment["spec"], "replicaz": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.35", strict=True)


def test_files_are_named_in_an_order_that_works() -> None:
    kinds = [str(item.content["kind"]) for item in objects("drcio")]
    first = {kind: kinds.index(kind) for kind in kinds}
    assert first["Namespace"] == 0
    assert first["ServiceAccount"] < first["ClusterRoleBinding"] < first["ConfigMap"] < first["DaemonSet"]
    assert first["StorageClass"] < first["PersistentVolumeClaim"] < first["Deployment"] < first["Job"]


def test_file_names_are_unique() -> None:
    names = [item.file_name for item in objects("drcio")]
    assert len(names) == len(set(names))


def test_no_annotation_of_pulumi_is_left() -> None:
    assert "pulumi.com" not in "".join(item.as_yaml() for item in objects("drcio"))


def test_existing_cluster_gets_files_that_name_no_aws_thing() -> None:
    text = "".join(
        item.as_yaml() for item in objects("drcio", {"drcio:platform": "existing", **GIVEN_IMAGES})
    )
    assert "amazonaws" not in text
    assert "nodeSelector:\n        drcio.io/stack" not in text
    assert "ebs.csi.aws.com" not in text


def test_no_secret_is_written() -> None:
    (secret,) = [item for item in objects("drcio") if item.content["kind"] == "Secret"]
    assert secret.content["stringData"]["admin-password"] == "known-after-deployment"
