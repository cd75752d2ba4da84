"""The informer against the real HTTP server: it never loses a change and never forgets in silence."""

import queue
import random
import time
from collections.abc import Iterator, Mapping
from functools import partial

import pytest

from drcio_controller.kube.backoff import Backoff
from drcio_controller.kube.client import KubeClient, Timeouts
from drcio_controller.kube.endpoint import at_url
from drcio_controller.kube.informer import Informer
from drcio_controller.kube.jsontypes import JsonObject
from drcio_controller.kube.pod import Pod, parse_pod
from drcio_controller.testing.podapi import ApiOptions
from drcio_controller.testing.server import PodApiServer, serving
from drcio_controller.testing.store import PodStore, Resource
from tests.waits import eventually

WAIT_S = 5.0
soon = partial(eventually, what="the informer has it", within_s=WAIT_S, every_s=0.005)
QUICK = Backoff(initial_s=0.02, cap_s=0.05)


def pod(name: str, *, node: str = "here", **labels: str) -> JsonObject:
    return {
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {"nodeName": node, "containers": [{"name": "main"}]},
        "status": {"phase": "Running", "qosClass": "Burstable"},
    }


class Node:
    """A server, a client, an informer, and what was delivered."""

    def __init__(self, server: PodApiServer) -> None:
        self.server = server
        self.store = server.store
        self.requests: list[tuple[str, str]] = []
        self.parsed = 0
        self.pictures: queue.Queue[Mapping[str, Pod]] = queue.Queue()
        client = KubeClient(
            at_url(server.url),
            timeouts=Timeouts(connect_s=1, read_s=2, watch_silence_s=1),
            observe=lambda verb, result: self.requests.append((verb, result)),
        )
        self.client = client
        self.informer = Informer(
            client.pods,
            self._parse,
            lambda: self.pictures.put({pod.name: pod for pod in self.informer.items().values()}),
            field_selector="spec.nodeName=here",
            backoff=QUICK,
            rng=random.Random(1),
        )

    def _parse(self, document: JsonObject) -> Pod:
        self.parsed += 1
        return parse_pod(document)

    def next(self) -> Mapping[str, Pod]:
        """Return the pods by name as they were after the next change."""
        return self.pictures.get(timeout=WAIT_S)

    def count(self, verb: str, result: str = "200") -> int:
        return self.requests.count((verb, result))

    def started(self) -> Mapping[str, Pod]:
        """Start, and return the first list once the watch is open."""
        self.informer.start()
        first = self.next()
        soon(lambda: self.count("watch") == 1)
        return first

    def create(self, name: str, **labels: str) -> JsonObject:
        return self.store.create(Resource.PODS, "default", pod(name, **labels))

    def names(self) -> set[str]:
        return {p.name for p in self.informer.items().values()}


@pytest.fixture
def node() -> Iterator[Node]:
    store = PodStore(history=50)
    with serving(store, ApiOptions(bookmark_interval_s=0.2)) as server:
        node = Node(server)
        yield node
        node.informer.stop()
        node.client.close()


def test_pods_of_this_node_are_listed_and_others_are_not(node: Node) -> None:
    node.create("mine")
    node.store.create(Resource.PODS, "default", pod("other", node="elsewhere"))
    first = node.started()
    assert list(first) == ["mine"]


def test_a_list_in_many_pages_is_whole(node: Node) -> None:
    for number in range(120):
        node.create(f"p{number}")
    assert len(node.started()) == 120


def test_change_of_what_is_not_kept_is_no_news(node: Node) -> None:
    """A pod's author may note something in an annotation a hundred times a second."""
    node.started()
    node.create("a")
    assert list(node.next()) == ["a"]
    for turn in range(20):
        changed: JsonObject = {"annotations": {"mesh.example/turn": str(turn)}, "labels": {"app": str(turn)}}
        node.store.patch(Resource.PODS, "default", "a", {"metadata": changed})
    node.store.patch(Resource.PODS, "default", "a", {"metadata": {"labels": {"drcio.io/tier": "high"}}})

    assert node.next()["a"].labels == {"drcio.io/tier": "high"}
    assert node.parsed >= 21


def test_changes_are_delivered_in_order(node: Node) -> None:
    node.started()
    node.create("a", **{"drcio.io/tier": "low"})
    node.store.patch(Resource.PODS, "default", "a", {"metadata": {"labels": {"drcio.io/tier": "high"}}})
    node.store.delete(Resource.PODS, "default", "a")
    added, modified, deleted = node.next(), node.next(), node.next()
    tiers = [added["a"].labels["drcio.io/tier"], modified["a"].labels["drcio.io/tier"]]
    assert (tiers, deleted) == (["low", "high"], {})
    assert node.informer.items() == {}


def test_a_label_change_is_delivered_within_100_ms(node: Node) -> None:
    node.create("a", **{"drcio.io/tier": "low"})
    node.started()
    before_s = time.monotonic()
    node.store.patch(Resource.PODS, "default", "a", {"metadata": {"labels": {"drcio.io/tier": "high"}}})
    node.next()
    assert time.monotonic() - before_s < 0.1


def test_bookmarks_move_the_resume_point(node: Node) -> None:
    """Without them a watch would resume at a version that other pods have driven out of the history."""
    node.started()
    for batch in range(3):
        for number in range(20):
            node.store.create(Resource.PODS, "default", pod(f"p{batch}-{number}", node="elsewhere"))
        soon(lambda: node.informer._resource_version == str(node.store.version))
    node.server.down()
    node.server.up()
    node.create("a")
    assert list(node.next()) == ["a"]
    assert node.count("list") == 1


def test_expired_watch_lists_again(node: Node) -> None:
    node.started()
    node.store.compact()
    assert (node.next(), node.count("list")) == ({}, 2)
    node.create("after")
    assert list(node.next()) == ["after"]


def test_watch_cut_in_mid_line_loses_nothing(node: Node) -> None:
    node.started()
    node.server.faults.cuts = 2
    node.create("a")
    assert list(node.next()) == ["a"]
    assert node.count("list") <= 2


@pytest.mark.parametrize("line", [b"not json\n", b"{}\n", b'{"type":"ADDED","object":7}\n', b"\xff\xfe\n"])
def test_garbage_on_a_watch_loses_nothing(node: Node, line: bytes) -> None:
    node.started()
    node.server.faults.garbage.append(line)
    node.create("a")
    assert list(node.next()) == ["a"]
    assert (node.count("watch"), node.count("list")) == (2, 1)


@pytest.mark.parametrize("code", [429, 500, 503, 410, 403])
def test_refused_requests_are_tried_again(node: Node, code: int) -> None:
    node.create("a")
    node.server.faults.fail_next(3, code)
    assert len(node.started()) == 1
    assert node.requests[:3] == [("list", str(code))] * 3


def test_retry_after_is_honoured(node: Node) -> None:
    node.server.faults.fail_next(1, 429, retry_after_s=1)
    before_s = time.monotonic()
    node.started()
    assert time.monotonic() - before_s >= 1.0


def test_last_known_pods_stay_while_the_server_is_away(node: Node) -> None:
    node.create("a")
    node.started()
    node.server.down()
    soon(lambda: node.informer.health().failures_in_a_row >= 2)
    assert node.names() == {"a"}
    node.create("b")
    node.server.up()
    assert set(node.next()) == {"a", "b"}
    assert node.count("list") == 1


def test_a_silent_connection_is_given_up(node: Node) -> None:
    node.started()
    node.server.options.bookmark_interval_s = 60
    soon(lambda: ("watch", "timeout") in node.requests or node.count("watch") > 1)


def test_malformed_pod_is_skipped_and_counted(node: Node) -> None:
    odd = pod("odd")
    odd["status"] = {"qosClass": "Sometimes"}
    node.store.create(Resource.PODS, "default", odd)
    node.create("good")
    assert list(node.started()) == ["good"]
    assert node.informer.health().malformed == 1


def test_a_thousand_pods_come_and_go(node: Node) -> None:
    node.started()
    for number in range(1000):
        node.create(f"p{number}")
        if number >= 100:
            node.store.delete(Resource.PODS, "default", f"p{number - 100}")
    expected = {f"p{number}" for number in range(900, 1000)}
    soon(lambda: node.names() == expected)


def test_stop_ends_an_open_watch_at_once(node: Node) -> None:
    node.started()
    before_s = time.monotonic()
    node.informer.stop()
    assert time.monotonic() - before_s < 0.5
    assert not node.informer.alive


def test_page_that_would_not_fit_into_memory_is_asked_for_in_smaller_ones(node: Node) -> None:
    for index in range(9):
        big = pod(f"big-{index}") | {"spec": {"nodeName": "here", "padding": "x" * (1 << 20)}}
        node.store.create(Resource.PODS, "default", big)

    node.started()

    assert len(node.names()) == 9
    assert ("list", "too_large") in node.requests
