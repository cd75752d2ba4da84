"""Parsing pods: unknown fields pass, an unusable identity does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.kube.errors import PodMalformed
from drcio_controller.kube.jsontypes import Json, JsonObject
from drcio_controller.kube.pod import (
    KEPT_CONTAINERS,
    KEPT_ENTRIES,
    KEPT_PORTS,
    VALUE_LIMIT_CHARS,
    QosClass,
    parse_pod,
)

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
    assert (pod.namespace, pod.name, pod.uid, pod.pod_ip) == ("shop", "api", UID, "10.0.0.7")
    assert pod.qos_class is QosClass.GUARANTEED
    assert pod.container_ids == (ID,)
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


HASH = "abc123"
OWNER: JsonObject = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "1", "controller": True}


def mirror(**changes: Json) -> JsonObject:
    """Return a mirror's metadata as kubelet makes it; `changes` are of one annotation or the owners."""
    annotations: JsonObject = {
        f"kubernetes.io/config.{key}": changes.get(key, value)
        for key, value in {"hash": HASH, "mirror": HASH, "source": "file"}.items()
    }
    return metadata(annotations=annotations, ownerReferences=changes.get("owners", [OWNER]))


def test_mirror_of_a_static_pod_claims_its_hash() -> None:
    assert parse_pod(document(metadata=mirror())).static_hash == HASH


@pytest.mark.parametrize(
    "changes",
    [
        {"mirror": ""},
        {"mirror": "other"},
        {"source": "api"},
        {"source": None},
        {"hash": "../../system.slice", "mirror": "../../system.slice"},
        {"owners": []},
        {"owners": None},
        {"owners": [OWNER, OWNER]},
        {"owners": [OWNER | {"kind": "ReplicaSet"}]},
        {"owners": [OWNER | {"name": "n2"}]},
        {"owners": [OWNER | {"controller": False}]},
        {"owners": [OWNER | {"apiVersion": "apps/v1"}]},
    ],
)
def test_pod_without_every_mark_of_a_mirror_claims_nothing(changes: dict[str, Json]) -> None:
    assert parse_pod(document(metadata=mirror(**changes))).static_hash == ""


@pytest.mark.parametrize(
    ("declared", "read"),
    [
        ([{"containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}], {8080}),
        ([{"containerPort": True}, {"containerPort": "80"}, {"containerPort": 0}], set()),
        ([{"containerPort": 65536}, {"containerPort": 65535, "protocol": "TCP"}, 7], {65535}),
        ("8080", set()),
    ],
)
def test_only_tcp_ports_of_the_manifest_are_its_own(declared: Json, read: set[int]) -> None:
    spec: JsonObject = {"nodeName": "n1", "containers": [{"name": "c", "ports": declared}]}
    assert parse_pod(document(spec=spec)).ports == read


def test_values_of_any_length_and_number_take_bounded_memory() -> None:
    many: JsonObject = {f"drcio.io/{index}": "x" * 100_000 for index in range(10_000)}
    pod = parse_pod(document(metadata=metadata(labels=many, annotations=many)))
    for kept in (pod.labels, pod.annotations):
        assert len(kept) == KEPT_ENTRIES
        assert max(map(len, kept.values())) == VALUE_LIMIT_CHARS + 1


@pytest.mark.parametrize("name", ["a\nb", "A", "a/b", "a" * 254, "a b", "-a"])
def test_name_that_the_api_server_would_not_give_is_refused(name: str) -> None:
    with pytest.raises(PodMalformed):
        parse_pod(document(metadata=metadata(name=name)))


@pytest.mark.parametrize("uid", ["", "../../system.slice", "a/b", "a\n", None, 7])
def test_uid_that_could_leave_the_cgroup_tree_is_refused(uid: Json) -> None:
    with pytest.raises(PodMalformed, match="uid"):
        parse_pod(document(metadata=metadata(uid=uid)))


def test_container_id_that_could_leave_the_cgroup_tree_is_dropped() -> None:
    status: JsonObject = {
        "qosClass": "BestEffort",
        "containerStatuses": [{"name": "x", "containerID": "containerd://../.."}],
    }
    assert parse_pod(document(status=status)).container_ids == ()


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


def test_ports_and_containers_of_a_huge_manifest_take_bounded_memory() -> None:
    ports: list[Json] = [{"containerPort": 1 + port} for port in range(40_000)]
    statuses: list[Json] = [
        {"name": "c" * 100_000, "containerID": f"x://{index:0100}"} for index in range(2000)
    ]

    pod = parse_pod(
        document(
            spec={"nodeName": "n1", "containers": [{"name": "main", "ports": ports}]},
            status={"qosClass": "Burstable", "containerStatuses": statuses},
        )
    )

    assert len(pod.ports) == KEPT_PORTS
    assert len(pod.container_ids) == KEPT_CONTAINERS
    assert len(repr(pod)) < 64_000
