"""The store: versions only grow, conflicts are seen, history ends."""

from http import HTTPStatus

import pytest

from drcio_controller.kube.jsontypes import JsonObject, object_at, text_at
from drcio_controller.testing.store import PodStore, Resource, StoreError, merge_patch

PODS = Resource.PODS


def pod(name: str, node: str = "") -> JsonObject:
    return {"metadata": {"name": name}, "spec": {"nodeName": node} if node else {}}


def version(document: JsonObject) -> int:
    return int(text_at(document, "metadata", "resourceVersion"))


def test_versions_only_grow() -> None:
    store = PodStore()
    first = store.create(PODS, "default", pod("a"))
    second = store.patch(PODS, "default", "a", {"metadata": {"labels": {"x": "y"}}})
    third = store.delete(PODS, "default", "a")
    assert version(first) < version(second) < version(third) == store.version


def test_patch_that_changes_nothing_is_no_change() -> None:
    store = PodStore()
    store.create(PODS, "default", pod("a"))
    before = store.version
    store.patch(PODS, "default", "a", {"status": {"phase": "Pending"}})
    assert store.version == before


def test_name_taken_is_a_conflict() -> None:
    store = PodStore()
    store.create(PODS, "default", pod("a"))
    with pytest.raises(StoreError) as caught:
        store.create(PODS, "default", pod("a"))
    assert (caught.value.code, caught.value.reason) == (HTTPStatus.CONFLICT, "AlreadyExists")


def test_update_of_an_old_version_is_a_conflict() -> None:
    store = PodStore()
    old = store.create(PODS, "default", pod("a"))
    store.patch(PODS, "default", "a", {"metadata": {"labels": {"x": "y"}}})
    with pytest.raises(StoreError) as caught:
        store.patch(PODS, "default", "a", old)
    assert (caught.value.code, caught.value.reason) == (HTTPStatus.CONFLICT, "Conflict")


def test_identity_survives_an_update() -> None:
    store = PodStore()
    created = store.create(PODS, "default", pod("a"))
    patched = store.patch(PODS, "default", "a", {"metadata": {"uid": "other"}, "spec": {"x": 1}})
    assert text_at(patched, "metadata", "uid") == text_at(created, "metadata", "uid")


def test_history_is_bounded_and_then_expired() -> None:
    store = PodStore(history=3)
    start = store.version
    for number in range(5):
        store.create(PODS, "default", pod(f"p{number}"))
    assert len(store.changes_since(PODS, store.version - 3)) == 3
    with pytest.raises(StoreError) as caught:
        store.changes_since(PODS, start)
    assert caught.value.code == HTTPStatus.GONE


def test_copies_handed_out_do_not_write_back() -> None:
    store = PodStore()
    store.create(PODS, "default", pod("a"))
    object_at(store.get(PODS, "default", "a"), "metadata")["name"] = "changed"
    assert text_at(store.get(PODS, "default", "a"), "metadata", "name") == "a"


def test_graceful_deletion_marks_a_bound_pod_and_waits_for_its_kubelet() -> None:
    store = PodStore(graceful_deletion=True)
    created = store.create(PODS, "default", pod("a", node="n1"))
    marked = store.delete(PODS, "default", "a", 7)
    assert object_at(marked, "metadata")["deletionGracePeriodSeconds"] == 7
    store.remove(PODS, "default", "a", "another-uid")
    assert store.all(PODS)[1]
    store.remove(PODS, "default", "a", text_at(created, "metadata", "uid"))
    assert not store.all(PODS)[1]


def test_second_deletion_can_only_shorten_the_grace_period() -> None:
    store = PodStore(graceful_deletion=True)
    store.create(PODS, "default", pod("a", node="n1"))
    for asked_s, expected_s in ((7, 7), (9, 7), (3, 3)):
        marked = store.delete(PODS, "default", "a", asked_s)
        assert object_at(marked, "metadata")["deletionGracePeriodSeconds"] == expected_s


def test_deletion_without_grace_is_immediate() -> None:
    store = PodStore(graceful_deletion=True)
    store.create(PODS, "default", pod("a", node="n1"))
    store.delete(PODS, "default", "a", 0)
    assert not store.all(PODS)[1]


def test_merge_patch_follows_rfc_7386() -> None:
    assert merge_patch({"a": {"b": 1, "c": 2}, "l": [1]}, {"a": {"b": None}, "l": [2], "n": 3}) == {
        "a": {"c": 2},
        "l": [2],
        "n": 3,
    }
