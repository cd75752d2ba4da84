"""A manifest is read strictly where it matters, and the message says what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.kube.jsontypes import Json, JsonObject
from node_twin.kubelet.errors import ManifestError
from node_twin.kubelet.manifest import ConfigMapVolume, HttpGet, RestartPolicy, parse_manifest
from tests.node_twin.kubelet.manifests import container, pod, resources


def test_a_full_manifest_is_read() -> None:
    manifest = parse_manifest(
        pod(
            container(
                readinessProbe={"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 2},
                volumeMounts=[{"name": "config", "mountPath": "/etc/app", "readOnly": True}],
                resources=resources({"cpu": "250m"}, {"memory": "64Mi"}),
            ),
            volumes=[{"name": "config", "configMap": {"name": "app", "items": [{"key": "a", "path": "b"}]}}],
            restartPolicy="OnFailure",
            tolerations=[{"operator": "Exists"}],
        )
    )
    (main,) = manifest.containers
    assert main.readiness is not None
    assert main.readiness.action == HttpGet(8080, "/readyz")
    assert (main.readiness.period_s, main.readiness.failure_threshold) == (2, 3)
    assert manifest.volumes == (ConfigMapVolume("config", "app", (("a", "b"),), False),)
    assert manifest.restart_policy is RestartPolicy.ON_FAILURE


def test_request_defaults_to_its_limit() -> None:
    (main,) = parse_manifest(pod(container(resources=resources(None, {"cpu": 1})))).containers
    assert main.resources.cpu_request_milli == 1000


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"kind": "Deployment"}, "kind is 'Deployment'; expected 'Pod'"),
        (pod(container(resources=resources({"cpu": "x"}))), r"requests.cpu is 'x'; expected a quantity"),
        (
            pod(container(resources=resources({"cpu": 2}, {"cpu": 1}))),
            r"requests.cpu is 2; expected at most the limit",
        ),
        (pod(container(command="run")), r"containers\[main\].command is 'run'; expected a list"),
        (
            pod(container(volumeMounts=[{"name": "d", "mountPath": "/d"}])),
            "the volume 'd'; expected one of none",
        ),
        (pod(container(volumeMounts=[{"name": "d", "mountPath": "d"}])), "expected an absolute path"),
        (pod(container("a"), container("a")), "named a, a; expected distinct names"),
        (pod(restartPolicy="Sometimes"), "expected one of Always, OnFailure, Never"),
        (pod(volumes=[{"name": "v", "nfs": {}}]), r"volumes\[v\] is of a type that the twin has not"),
        (pod(container(readinessProbe={"grpc": {}})), "expected httpGet or exec"),
        (pod(container(env=[{"name": "X", "valueFrom": {"secretKeyRef": {}}}])), "expected fieldRef or"),
        (pod(initContainers=[container("side", restartPolicy="Always")]), "no sidecar containers"),
        ({**pod(), "spec": {}}, "expected at least one container"),
    ],
)
def test_what_cannot_be_run_is_refused(manifest: JsonObject, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        parse_manifest(manifest)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
FIELDS = ["name", "command", "args", "env", "resources", "volumeMounts", "readinessProbe"]
containers = st.dictionaries(st.sampled_from(FIELDS), json_values)


@given(containers, st.dictionaries(st.just("volumes"), json_values))
def test_any_container_is_read_or_refused(fields: dict[str, Json], spec: dict[str, Json]) -> None:
    try:
        manifest = parse_manifest(pod({**container(), **fields}, **spec))
    except ManifestError:
        return
    assert manifest.containers
