"""QoS classes by Kubernetes' rules."""

import pytest

from drcio_controller.kube.jsontypes import JsonObject
from drcio_controller.kube.pod import QosClass
from node_twin.kubelet.manifest import parse_manifest
from node_twin.kubelet.qos import qos_class
from tests.node_twin.kubelet.manifests import container, pod, resources

FULL = resources({"cpu": 1, "memory": "1Gi"}, {"cpu": "1000m", "memory": "1024Mi"})
LIMITS_ONLY = resources(None, {"cpu": 1, "memory": "1Gi"})


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (pod(), QosClass.BEST_EFFORT),
        (pod(container(resources=FULL)), QosClass.GUARANTEED),
        (pod(container(resources=LIMITS_ONLY)), QosClass.GUARANTEED),
        (pod(container(resources=resources({"cpu": "1m"}))), QosClass.BURSTABLE),
        (pod(container(resources=resources(None, {"cpu": 1}))), QosClass.BURSTABLE),
        (
            pod(container(resources=resources({"cpu": 1, "memory": 1}, {"cpu": 2, "memory": 1}))),
            QosClass.BURSTABLE,
        ),
        (pod(container("a", resources=FULL), container("b")), QosClass.BURSTABLE),
        (pod(container(resources=FULL), initContainers=[container("i")]), QosClass.BURSTABLE),
        (pod(container(resources=resources({"cpu": 0, "memory": 0}))), QosClass.BEST_EFFORT),
    ],
)
def test_qos_class(manifest: JsonObject, expected: QosClass) -> None:
    assert qos_class(parse_manifest(manifest)) is expected
