"""What the twin's API server lets in."""

import pytest

from drcio_controller.kube.jsontypes import text_at
from drcio_controller.testing.store import PodStore, Resource, StoreError
from node_twin.kubelet.admission import admission
from tests.node_twin.kubelet.manifests import container, pod


def test_pod_is_bound_and_classed() -> None:
    store = PodStore(admit=admission("twin"))
    document = pod()
    assert isinstance(document["spec"], dict)
    del document["spec"]["nodeName"]
    admitted = store.create(Resource.PODS, "shop", document)
    assert text_at(admitted, "spec", "nodeName") == "twin"
    assert text_at(admitted, "status", "qosClass") == "BestEffort"


def test_bad_manifest_is_422_with_the_reason() -> None:
    store = PodStore(admit=admission("twin"))
    with pytest.raises(StoreError, match="expected a list of strings") as caught:
        store.create(Resource.PODS, "shop", pod(container(args="x")))
    assert caught.value.code == 422
