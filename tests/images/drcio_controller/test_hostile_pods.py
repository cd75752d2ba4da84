"""Pods whose authors want more than their own share: none gets it, through the whole agent.

Each row is tried twice: against the agent as it is, which must not move, and against an agent without the
guard that the row is about, which must. A row that cannot fail proves nothing.
"""

from __future__ import annotations

import itertools
import logging
import socket
import time
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import pytest

from drcio_controller.agent import render_once
from drcio_controller.config import Config, LatencyTarget
from drcio_controller.kube import pod as kube_pod
from drcio_controller.kube.jsontypes import Json, JsonObject, object_at, objects_at, text_at
from drcio_controller.kube.pod import Pod, QosClass
from drcio_controller.latency.watch import LatencyWatch
from drcio_controller.pods.nodepod import LatencySource, NodePod, classify
from drcio_controller.testing.store import Resource
from tests.images.drcio_controller.rig import Rig
from tests.waits import eventually

VICTIM: Final = "6f9a2f6e-4c1b-4a55-9d0c-0a52e9f0f3a1"
STATIC: Final = "d41d8cd98f00b204e9800998ecf8427e"
STATIC_CONTAINER: Final = "a" * 64
OWN: Final = "11111111-0000-4000-8000-000000000000"
POD_IP: Final = "10.0.0.66"
NODE_IP: Final = "10.0.0.1"

KEPT_CHARS: Final = 32_768
"""Of one pod, as text: 110 of them are a few megabytes."""

Mutation = Callable[[JsonObject], None]
Disarm = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Row:
    """A pod of somebody with bad intentions, and what takes away the guard that it meets."""

    mutate: Mutation
    disarm: Disarm


def annotated(**annotations: str) -> Mutation:
    """Return what puts annotations onto a pod; `__` in a keyword stands for the slash of its key."""

    def mutate(document: JsonObject) -> None:
        at(document, "metadata", "annotations").update(annotations)

    return mutate


def at(document: JsonObject, *path: str) -> JsonObject:
    here = document
    for key in path:
        inner = here.setdefault(key, {})
        assert isinstance(inner, dict)
        here = inner
    return here


def mirror(uid: str, *, owner: str = "Node", source: str = "file") -> Mutation:
    """Return what gives a pod every mark of a static pod's mirror."""

    def mutate(document: JsonObject) -> None:
        annotated(
            **{
                "kubernetes.io/config.hash": uid,
                "kubernetes.io/config.mirror": uid,
                "kubernetes.io/config.source": source,
            }
        )(document)
        at(document, "metadata")["ownerReferences"] = [
            {"apiVersion": "v1", "kind": owner, "name": "node-1", "uid": "1", "controller": True}
        ]

    return mutate


def asks(**changes: str) -> Mutation:
    """Return what makes the agent ask a pod for its latency, somewhere else than it should."""
    asked = {"drcio.io/latency-target": "p95<1ms", "prometheus.io/port": "8080"}
    return annotated(**(asked | {f"prometheus.io/{key}": value for key, value in changes.items()}))


def addressed(address: str) -> Mutation:
    def mutate(document: JsonObject) -> None:
        asks()(document)
        at(document, "status")["podIP"] = address

    return mutate


NO_TEXT: Final[JsonObject] = {"drcio.io/priority": ["high"], "drcio.io/x": {"a": 1}}


def labelled(**labels: Json) -> Mutation:
    def mutate(document: JsonObject) -> None:
        at(document, "metadata", "labels").update(labels)

    return mutate


def on_the_hosts_network(document: JsonObject) -> None:
    asks()(document)
    at(document, "spec")["hostNetwork"] = True
    at(document, "status")["podIP"] = NODE_IP


def crowded(document: JsonObject) -> None:
    crowd: JsonObject = {f"drcio.io/{index}": "x" * 60 for index in range(5000)}
    at(document, "metadata", "labels").update(crowd)
    at(document, "metadata", "annotations").update(crowd)


def of_many_ports(document: JsonObject) -> None:
    container: JsonObject = {
        "name": "main",
        "ports": [{"containerPort": index % 65_536, "name": "x" * 15} for index in range(20_000)],
    }
    at(document, "spec")["containers"] = [container]


def of_many_containers(document: JsonObject) -> None:
    at(document, "status")["containerStatuses"] = [
        {"name": f"c{index}", "containerID": "containerd://../../../" + "x" * 5000} for index in range(200)
    ]


def by_its_word(patch: pytest.MonkeyPatch) -> None:
    """Let a pod's cgroup be whichever its annotation names."""

    def claimed(metadata: JsonObject, node_name: str) -> str:
        return text_at(object_at(metadata, "annotations"), "kubernetes.io/config.hash")

    def believed(pods: Mapping[str, Pod], children: object) -> dict[str, str]:
        return {uid: pod.static_hash or uid for uid, pod in pods.items()}

    patch.setattr(kube_pod, "_static_hash", claimed)
    patch.setattr("drcio_controller.loop.cgroup_uids", believed)


def anywhere(patch: pytest.MonkeyPatch) -> None:
    """Ask whatever address, port and path a pod names."""

    def named(pod: Pod, target: LatencyTarget) -> LatencySource | None:
        port = pod.annotations.get("prometheus.io/port")
        if port is None:
            return None
        scheme = pod.annotations.get("prometheus.io/scheme", "http")
        path = pod.annotations.get("prometheus.io/path", "/metrics")
        return LatencySource(target=target, metric="m", url=f"{scheme}://{pod.pod_ip}:{port}{path}")

    def fetched(url: str) -> str:
        scheme, _, rest = url.partition("://")
        where, _, path = rest.partition("/")
        host, _, port = where.rpartition("@")[2].rpartition(":")
        socket.create_connection((host, 0 if scheme == "file" or "\r" in path else int(port)), 1.0)
        return ""

    patch.setattr("drcio_controller.pods.nodepod._latency_source", named)
    patch.setattr("drcio_controller.agent.LatencyWatch", lambda window_s: LatencyWatch(window_s, fetched))


def whole_values(patch: pytest.MonkeyPatch) -> None:
    """Keep every label and annotation, whatever it is and however long."""

    def kept(mapping: Mapping[str, Json], prefixes: tuple[str, ...]) -> dict[str, Json]:
        return {key: value for key, value in mapping.items() if key.startswith(prefixes)}

    patch.setattr(kube_pod, "_strings", kept)


def every_port(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(kube_pod, "KEPT_PORTS", 1_000_000)


def every_container(patch: pytest.MonkeyPatch) -> None:
    def all_of_them(status: JsonObject) -> tuple[str, ...]:
        return tuple(text_at(entry, "containerID") for entry in objects_at(status, "containerStatuses"))

    patch.setattr(kube_pod, "_container_ids", all_of_them)


def raw_words(patch: pytest.MonkeyPatch) -> None:
    """Repeat a stranger's label as it is."""

    def quoting(pod: Pod, config: Config, **options: str | None) -> NodePod | None:
        made = classify(pod, config, **options)  # type: ignore[arg-type]
        label = pod.labels.get("drcio.io/priority", "")
        return None if made is None else replace(made, problems=(label,) if "\n" in label else ())

    patch.setattr("drcio_controller.loop.classify", quoting)
    patch.setattr("drcio_controller.loop.log", _Plain())


class _Plain:
    """Log without quoting."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        logger = logging.getLogger("drcio_controller.loop")

        def write(text: str, *values: object) -> None:
            logger.warning(text.replace("%r", "%s"), *values)

        return write


HOSTILE: Final[dict[str, Row]] = {
    "config hash of another pod": Row(annotated(**{"kubernetes.io/config.hash": VICTIM}), by_its_word),
    "whole mirror of another pod": Row(mirror(VICTIM), by_its_word),
    "whole mirror of another pod, spelled as systemd does": Row(
        mirror(VICTIM.replace("-", "_")), by_its_word
    ),
    "mirror of a static pod whose containers are another's": Row(mirror(STATIC), by_its_word),
    "mirror that a ReplicaSet owns": Row(mirror(STATIC, owner="ReplicaSet"), by_its_word),
    "mirror from the API": Row(mirror(STATIC, source="api"), by_its_word),
    "mirror of a path out of the tree": Row(mirror(f"{OWN}.slice/../../../system"), by_its_word),
    "port with a host in it": Row(asks(port="80@169.254.169.254:80"), anywhere),
    "port of kubelet, not its own": Row(asks(port="10250"), anywhere),
    "path that ends the request": Row(asks(path="/\r\nHost: 169.254.169.254\r\n\r\nGET /"), anywhere),
    "scheme that reads files": Row(asks(scheme="file"), anywhere),
    "address of the metadata service": Row(addressed("169.254.169.254"), anywhere),
    "address of the metadata service in IPv6": Row(addressed("::ffff:a9fe:a9fe"), anywhere),
    "address of the metadata service that IPv6 has of its own": Row(addressed("fd00:ec2::254"), anywhere),
    "address of loopback in decimal": Row(addressed("2130706433"), anywhere),
    "address that is a name": Row(addressed("instance-data.ec2.internal"), anywhere),
    "the host's network": Row(on_the_hosts_network, anywhere),
    "weight of 300,000 digits": Row(annotated(**{"drcio.io/weight": "000001" + "9" * 300_000}), whole_values),
    "target without an end": Row(
        annotated(**{"drcio.io/latency-target": "p95<" + "9" * 250_000 + "s"}), whole_values
    ),
    "five thousand labels and annotations": Row(crowded, whole_values),
    "twenty thousand ports": Row(of_many_ports, every_port),
    "container ids out of the tree": Row(of_many_containers, every_container),
    "class with line breaks": Row(
        labelled(**{"drcio.io/priority": "high\nlevel=ERROR at=root forged\n" * 50}), raw_words
    ),
    "labels that are no text": Row(labelled(**NO_TEXT), whole_values),
}


def pod_of(name: str, uid: str, priority: str) -> JsonObject:
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid,
            "labels": {"drcio.io/priority": priority},
            "annotations": {},
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "main", "ports": [{"containerPort": 8080}]}]},
        "status": {
            "phase": "Running",
            "qosClass": "Burstable",
            "podIP": POD_IP,
            "hostIP": NODE_IP,
            "containerStatuses": [
                {"name": "main", "containerID": "containerd://" + "b" * 64, "state": {"running": {}}}
            ],
        },
    }


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Let no fetch leave, and remember where it would have gone."""
    seen: list[tuple[str, int]] = []

    def refuse(address: tuple[str, int], timeout: float | None = None) -> socket.socket:
        seen.append(address)
        raise ConnectionRefusedError(address)

    monkeypatch.setattr("drcio_controller.latency.scrape.socket.create_connection", refuse)
    return seen


def test_table_is_of_twenty_and_more() -> None:
    assert len(HOSTILE) >= 20


def endure(
    rig: Rig, mutate: Mutation, connections: list[tuple[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    """Let a pod come, and require that it gets nothing but its own share."""
    victim, static = (rig.node.add_pod(uid, QosClass.BURSTABLE) for uid in (VICTIM, STATIC))
    rig.node.add_container(static, STATIC_CONTAINER)
    rig.node.add_container(victim, "c" * 64)
    store = rig.api.store
    store.create(Resource.PODS, "shop", pod_of("victim", VICTIM, "high"))
    rig.expect_weight(victim, 1000)
    hostile = pod_of("hostile", OWN, "low")
    mutate(hostile)
    own = rig.node.add_pod(OWN, QosClass.BURSTABLE)
    system = rig.node.roots.cgroup / "system.slice"
    system.mkdir()
    (system / "io.weight").write_text("default 100\n")

    store.create(Resource.PODS, "shop", hostile)
    bystander = rig.add_pod("bystander", "medium")
    rig.expect_weight(bystander, 100)
    for index in range(10):
        store.patch(Resource.PODS, "shop", "hostile", {"metadata": {"annotations": {"turn": str(index)}}})
    rig.relabel("bystander", "low")
    rig.expect_weight(bystander, 10)
    ticks = rig.agent._tally.ticks
    eventually(lambda: rig.agent._tally.ticks >= ticks + 3, "looks at whom to ask for a latency")
    rig.agent._latency.poll()

    assert rig.node.read(f"{victim}/io.weight") == "default 1000\n"
    assert rig.node.read(f"{static}/io.weight") == "default 100\n"
    assert rig.node.read(f"{own}/io.weight") in ("default 10\n", "default 100\n")
    assert (system / "io.weight").read_text() == "default 100\n"
    assert {address for address, _ in connections} <= {POD_IP}
    assert {port for _, port in connections} <= {8080}
    kept = rig.agent._informer.items()
    assert all(len(repr(pod)) < KEPT_CHARS for pod in kept.values())
    told = [record.getMessage() for record in caplog.records if "hostile" in record.getMessage()]
    assert len(told) <= 10
    assert all("\n" not in line and len(line) < 2000 for line in told)
    assert rig.agent._tally.tick_errors == 0
    assert rig.agent._informer.alive


@pytest.mark.parametrize("row", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pod_gets_nothing_but_its_own_share(
    rig: Rig, row: Row, connections: list[tuple[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    endure(rig, row.mutate, connections, caplog)


@pytest.fixture
def disarmed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Row:
    row: Row = request.param
    row.disarm(monkeypatch)
    return row


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("disarmed", HOSTILE.values(), ids=HOSTILE, indirect=True)
def test_the_same_pod_gets_more_where_its_guard_is_away(
    disarmed: Row, rig: Rig, connections: list[tuple[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(AssertionError):
        endure(rig, disarmed.mutate, connections, caplog)


def test_labels_that_change_all_the_time_fill_no_log(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.add_pod("a", "low")
    for index in range(300):
        rig.relabel("a", f"nonsense-{index}")
    rig.relabel("a", "high")
    eventually(lambda: "class high" in render_once(rig.agent._status, dry_run=False), "the last label")

    assert len([record for record in caplog.records if "pod_problem" in record.getMessage()]) <= 5


def test_labels_that_change_all_the_time_take_no_core(rig: Rig) -> None:
    """A pass that takes 20 ms, as with a thousand pods it may, is followed by four times as long a pause."""
    pod = rig.add_pod("a", "low")
    rig.expect_weight(pod, 10)
    passes: list[float] = []
    act = rig.agent._pass

    def slow(*, acted_on_news: bool, due: bool) -> None:
        act(acted_on_news=acted_on_news, due=due)
        time.sleep(0.02)
        if acted_on_news:
            passes.append(time.monotonic())

    rig.agent._pass = slow  # type: ignore[method-assign]
    begun_s = time.monotonic()
    for priority in itertools.cycle(("high", "low")):
        rig.relabel("a", priority)
        took_s = time.monotonic() - begun_s
        # A busy machine is given longer for the least.
        if took_s >= 3.0 and (len(passes) >= 10 or took_s >= 15.0):
            break

    assert 10 <= len(passes) <= 35 * took_s / 3.0
    rig.relabel("a", "medium")
    rig.expect_weight(pod, 100)


def test_hundred_pods_of_a_megabyte_each_are_not_kept(rig: Rig) -> None:
    rig.add_pod("first", "low")
    eventually(lambda: bool(rig.agent._status.pods), "the first pod")
    tracemalloc.start()
    for index in range(100):
        document = pod_of(f"big-{index}", f"big-{index}", "low")
        crowded(document)
        rig.api.store.create(Resource.PODS, "shop", document)
    eventually(lambda: len(rig.agent._status.pods) == 101, "all pods")
    informer = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(True, "*/drcio_controller/kube/*"), tracemalloc.Filter(True, "*/json/*")]
    )
    tracemalloc.stop()

    assert sum(one.size for one in informer.statistics("filename")) < 16 << 20
