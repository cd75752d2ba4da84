"""The HTTP routes answer as the Kubernetes API does."""

import json
from collections.abc import Iterator

import httpx
import pytest

from drcio_controller.kube.jsontypes import JsonObject
from drcio_controller.testing.podapi import ApiOptions
from drcio_controller.testing.server import PodApiServer, serving
from drcio_controller.testing.store import PodStore, Resource

PODS = "/api/v1/namespaces/default/pods"
MERGE = {"Content-Type": "application/merge-patch+json"}


def read_log(namespace: str, pod: str, container: str, tail_lines: int | None) -> bytes:
    return f"{namespace} {pod} {container} {tail_lines}".encode()


@pytest.fixture(scope="module")
def server() -> Iterator[PodApiServer]:
    with serving(PodStore(), ApiOptions(bookmark_interval_s=0.1, read_log=read_log)) as server:
        yield server


@pytest.fixture
def api(server: PodApiServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url) as client:
        yield client
    for resource in Resource:
        for document in server.store.all(resource)[1]:
            metadata = document["metadata"]
            assert isinstance(metadata, dict)
            server.store.delete(resource, str(metadata["namespace"]), str(metadata["name"]), 0)


def pod(name: str, **labels: str) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {"nodeName": "n1"},
    }


def events(api: httpx.Client, **query: str) -> list[JsonObject]:
    """Watch for a second; return all events."""
    parameters = {"watch": "true", "timeoutSeconds": "1"} | query
    with api.stream("GET", "/api/v1/pods", params=parameters) as response:
        return [json.loads(line) for line in response.iter_lines()]


def test_pod_is_created_read_patched_and_deleted(api: httpx.Client) -> None:
    created = api.post(PODS, json=pod("a"))
    assert (created.status_code, created.json()["status"]["phase"]) == (201, "Pending")
    patched = api.patch(f"{PODS}/a", json={"metadata": {"labels": {"x": "y"}}}, headers=MERGE)
    assert patched.json()["metadata"]["labels"] == {"x": "y"}
    assert api.get(f"{PODS}/a").json() == patched.json()
    assert api.delete(f"{PODS}/a").status_code == 200
    missing = api.get(f"{PODS}/a")
    assert (missing.status_code, missing.json()["reason"]) == (404, "NotFound")
    assert missing.json()["kind"] == "Status"


def test_unknown_patch_type_is_415(api: httpx.Client) -> None:
    api.post(PODS, json=pod("a"))
    answer = api.patch(f"{PODS}/a", json=[], headers={"Content-Type": "application/json-patch+json"})
    assert answer.status_code == 415


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"kind":"Node","metadata":{"name":"a"}}'])
def test_body_that_is_no_pod_is_refused(api: httpx.Client, body: bytes) -> None:
    assert api.post(PODS, content=body).status_code == 400


def test_pages_show_the_state_of_the_first(api: httpx.Client) -> None:
    for name in "abc":
        api.post(PODS, json=pod(name))
    first = api.get("/api/v1/pods", params={"limit": 2}).json()
    api.delete(f"{PODS}/c")
    rest = api.get("/api/v1/pods", params={"limit": 2, "continue": first["metadata"]["continue"]}).json()
    assert [item["metadata"]["name"] for item in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_unknown_continue_token_is_410(api: httpx.Client) -> None:
    assert api.get("/api/v1/pods", params={"limit": 2, "continue": "old"}).status_code == 410


def test_bad_selector_is_400(api: httpx.Client) -> None:
    assert api.get("/api/v1/pods", params={"fieldSelector": "spec.color=red"}).status_code == 400


def test_watch_resumes_after_the_version_it_names(api: httpx.Client, server: PodApiServer) -> None:
    api.post(PODS, json=pod("a"))
    version = str(server.store.version)
    api.post(PODS, json=pod("b"))
    names = [event["object"]["metadata"]["name"] for event in events(api, resourceVersion=version)]  # type: ignore[index,call-overload]
    assert names == ["b"]


def test_object_that_leaves_the_selection_looks_deleted(api: httpx.Client, server: PodApiServer) -> None:
    version = str(server.store.version)
    api.post(PODS, json=pod("a", tier="low"))
    api.patch(f"{PODS}/a", json={"metadata": {"labels": {"tier": "high"}}}, headers=MERGE)
    low = events(api, resourceVersion=version, labelSelector="tier=low")
    high = events(api, resourceVersion=version, labelSelector="tier=high")
    assert [event["type"] for event in low] == ["ADDED", "DELETED"]
    assert [event["type"] for event in high] == ["ADDED"]


def test_bookmarks_come_only_when_asked_for(api: httpx.Client, server: PodApiServer) -> None:
    version = str(server.store.version)
    with_bookmarks = events(api, resourceVersion=version, allowWatchBookmarks="true")
    assert {event["type"] for event in with_bookmarks} == {"BOOKMARK"}
    assert events(api, resourceVersion=version) == []


def test_watch_from_an_expired_version_gets_an_error_event(api: httpx.Client, server: PodApiServer) -> None:
    version = str(server.store.version)
    server.store.compact()
    (event,) = events(api, resourceVersion=version)
    assert event["type"] == "ERROR"
    assert event["object"]["code"] == 410  # type: ignore[index,call-overload]


def test_log_is_served(api: httpx.Client) -> None:
    api.post(PODS, json=pod("a"))
    answer = api.get(f"{PODS}/a/log", params={"container": "main", "tailLines": 3})
    assert answer.text == "default a main 3"


def test_events_are_taken(api: httpx.Client) -> None:
    path = "/api/v1/namespaces/default/events"
    assert api.post(path, json={"metadata": {"name": "e"}, "count": 1}).status_code == 201
    assert api.patch(f"{path}/e", json={"count": 2}, headers=MERGE).json()["count"] == 2


def test_injected_failure_carries_retry_after(api: httpx.Client, server: PodApiServer) -> None:
    server.faults.fail_next(1, 429, retry_after_s=3)
    answer = api.get("/version")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    assert answer.json()["details"] == {"retryAfterSeconds": 3}
    assert api.get("/version").status_code == 200
