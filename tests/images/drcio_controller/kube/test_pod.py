"""Parsing pods: unknown fields pass, an unusable identity does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.kube.errors import PodMalformed
from drcio_controller.kube.jsontypes import Json, JsonObject
from drcio_controller.kube.pod import QosClass, parse_pod

UID = "6f9a2f6e-4c1b-4a55-9d0c-0a52e9f0f3a1"
ID = "0123456789abcdef" * 4


def document(**changes: Json) -> JsonObject:
    whole: JsonObject = {
        "metadata": {"name": "api", "namespace": "shop", "uid": UID, "labels": {"drcio.io/priority": "high"}},
        "spec": {"nodeName": "n1"},
        "status": {
            "phase": "Running",
            "qosClass": "Guaranteed",
            "podIP": "10.0.0.7",
            "initContainerStatuses": [{"name": "init", "state": {"terminated": {}}}],
            "containerStatuses": [
                {"name": "main", "containerID": f"containerd://{ID}", "state": {"running": {}}}
            ],
        },
    }
    return whole | changes


def metadata(**changes: Json) -> JsonObject:
    whole = document()["metadata"]
    assert isinstance(whole, dict)
    return whole | changes


def test_a_running_pod_is_read_whole() -> None:
    pod = parse_pod(document(unknown={"field": 1}))
    assert (pod.key, pod.uid, pod.node_name, pod.pod_ip) == ("shop/api", UID, "n1", "10.0.0.7")
    assert pod.qos_class is QosClass.GUARANTEED
    assert [(c.name, c.id, c.running) for c in pod.containers] == [("init", "", False), ("main", ID, True)]
    assert not pod.ended


def test_only_annotations_that_are_read_are_kept() -> None:
    pod = parse_pod(
        document(
            metadata=metadata(
                annotations={"kubectl.kubernetes.io/last-applied-configuration": "x" * 9, "drcio.io/a": "b"}
            )
        )
    )
    assert pod.annotations == {"drcio.io/a": "b"}


def test_static_pods_cgroup_is_named_after_its_hash() -> None:
    pod = parse_pod(document(metadata=metadata(annotations={"kubernetes.io/config.hash": "abc123"})))
    assert pod.cgroup_uid == "abc123"


@pytest.mark.parametrize("uid", ["", "../../system.slice", "a/b", "a\n", None, 7])
def test_uid_that_could_leave_the_cgroup_tree_is_refused(uid: Json) -> None:
    with pytest.raises(PodMalformed, match="uid"):
        parse_pod(document(metadata=metadata(uid=uid)))


def test_container_id_that_could_leave_the_cgroup_tree_is_dropped() -> None:
    status: JsonObject = {
        "qosClass": "BestEffort",
        "containerStatuses": [{"name": "x", "containerID": "containerd://../.."}],
    }
    assert parse_pod(document(status=status)).containers[0].id == ""


def test_error_names_the_pod_and_what_was_expected() -> None:
    with pytest.raises(PodMalformed, match=r"pod shop/api: status.qosClass is 'Golden'; expected one of"):
        parse_pod(document(status={"qosClass": "Golden"}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries({}, optional={"metadata": json_values, "spec": json_values, "status": json_values})
)
def test_any_json_is_either_a_pod_or_malformed(garbage: JsonObject) -> None:
    with pytest.raises(PodMalformed):
        parse_pod(garbage)


@given(labels=json_values, statuses=json_values, annotations=json_values)
def test_odd_values_where_nothing_depends_on_them_are_let_pass(
    labels: Json, statuses: Json, annotations: Json
) -> None:
    odd = metadata(labels=labels, annotations=annotations)
    status: JsonObject = {"qosClass": "Burstable", "containerStatuses": statuses}
    pod = parse_pod(document(metadata=odd, status=status))
    assert all(isinstance(value, str) for value in pod.labels.values())
