"""What a pod asks for by label and annotation; garbage never stops the controller."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.config import Config, LatencyTarget, PriorityClass
from drcio_controller.kube.pod import Pod, QosClass
from drcio_controller.pods.nodepod import NodePod, Origin, classify

CONFIG = Config()


def asked(pod: Pod, config: Config = CONFIG) -> NodePod:
    result = classify(pod, config)
    assert result is not None
    return result


@pytest.mark.parametrize(("label", "weight"), [("high", 1000), ("medium", 100), ("low", 10), (None, None)])
def test_label_gives_the_weight(make_pod: Callable[..., Pod], label: str | None, weight: int | None) -> None:
    assert asked(make_pod("a", label)).weight == weight


def test_unknown_class_is_reported_and_treated_as_unmanaged(make_pod: Callable[..., Pod]) -> None:
    pod = asked(make_pod("a", "urgent"))

    assert not pod.managed
    assert pod.problems == ("label drcio.io/priority is 'urgent'; expected one of high, medium, low",)


def test_class_of_the_configuration_is_known(make_pod: Callable[..., Pod]) -> None:
    config = Config(classes={"critical": PriorityClass(weight=5000)})

    assert asked(make_pod("a", "critical"), config).weight == 5000


def test_annotation_is_over_class(make_pod: Callable[..., Pod]) -> None:
    assert asked(make_pod("a", "high", **{"drcio.io/weight": "7"})).weight == 7


@pytest.mark.parametrize(
    "text", ["", "0", "10001", "-1", "1e3", "٣", "9" * 5000, "000001" + "9" * 5000, "0000019999", " 5"]
)
def test_garbage_in_an_annotation_leaves_the_class(make_pod: Callable[..., Pod], text: str) -> None:
    pod = asked(make_pod("a", "high", **{"drcio.io/weight": text}))

    assert pod.weight == 1000
    assert len(pod.problems) == 1


def test_target_needs_somewhere_to_ask(make_pod: Callable[..., Pod]) -> None:
    annotations = {"drcio.io/latency-target": "p95<100ms", "prometheus.io/port": "8080"}

    source = asked(make_pod("a", "high", pod_ip="10.0.0.7", **annotations)).latency

    assert source is not None
    assert source.target == LatencyTarget(percentile=95, limit_s=0.1)
    assert source.url == "http://10.0.0.7:8080/metrics"
    assert asked(make_pod("a", "high", **annotations)).latency is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prometheus.io/port": "10250"}, "expected a TCP port of its manifest: 80, 8080"),
        ({"prometheus.io/port": "80@169.254.169.254"}, "expected a TCP port of its manifest"),
        ({"prometheus.io/port": "٨٠"}, "expected a TCP port of its manifest"),
        ({"prometheus.io/port": "080"}, "expected a TCP port of its manifest"),
        ({"prometheus.io/port": "9" * 5000}, "expected a TCP port of its manifest"),
        ({"prometheus.io/scheme": "file"}, "expected http or https"),
        ({"prometheus.io/path": "/\r\nX: y"}, "expected a plain path"),
        ({"drcio.io/latency-metric": "up{} or vector"}, "expected a metric's name"),
        ({"drcio.io/latency-metric": "m" * 300}, "expected a metric's name"),
        ({"pod_ip": "169.254.169.254"}, "is a link-local address"),
        ({"pod_ip": "localhost"}, "is not an IP address"),
        ({"pod_ip": "192.0.2.1"}, "is the node's own"),
        ({"host_network": True}, "is the node's own"),
    ],
)
def test_where_not_to_ask_is_said_and_not_asked(
    make_pod: Callable[..., Pod], given: dict[str, str], said: str
) -> None:
    asks = {"drcio.io/latency-target": "p95<100ms", "prometheus.io/port": "8080", "pod_ip": "10.0.0.7"}

    pod = asked(make_pod("a", "high", **(asks | given)))

    assert pod.latency is None
    assert [said in problem for problem in pod.problems] == [True]
    assert len(pod.problems[0]) < 200
    assert pod.weight == 1000


def test_target_of_the_class_is_used_without_an_annotation(make_pod: Callable[..., Pod]) -> None:
    target = LatencyTarget(percentile=99, limit_s=0.05)
    config = Config(classes={"high": PriorityClass(weight=1000, latency_target=target)})

    pod = asked(make_pod("a", "high", pod_ip="fd00::7", **{"prometheus.io/port": "80"}), config)

    assert pod.latency is not None
    assert pod.latency.target == target
    assert pod.latency.url == "http://[fd00::7]:80/metrics"


@pytest.mark.parametrize(
    ("label", "namespace", "default", "priority", "origin"),
    [
        ("low", "high", "medium", "low", Origin.LABEL),
        (None, "high", "medium", "high", Origin.NAMESPACE),
        (None, None, "medium", "medium", Origin.DEFAULT),
        (None, None, "", None, None),
        ("nonsense", "high", "medium", None, None),
        (None, "nonsense", "medium", None, None),
    ],
)
def test_class_is_the_pods_own_else_its_namespaces_else_the_default(
    make_pod: Callable[..., Pod],
    label: str | None,
    namespace: str | None,
    default: str,
    priority: str | None,
    origin: Origin | None,
) -> None:
    pod = classify(make_pod("a", label), Config(default_class=default), namespace_class=namespace)

    assert pod is not None
    assert (pod.priority, pod.priority_from) == (priority, origin)
    assert pod.weight == (None if priority is None else CONFIG.classes[priority].weight)
    assert bool(pod.problems) == ("nonsense" in (label, namespace))


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pod_that_ended_is_none(make_pod: Callable[..., Pod], phase: str) -> None:
    assert classify(make_pod("a", "high", phase=phase), CONFIG) is None


hostile = st.text() | st.from_regex(r"[0-9]{1,6000}", fullmatch=True) | st.just("9" * 300_000)


@given(label=hostile, weight=hostile, target=hostile | st.just("p95<" + "9" * 400 + "s"), port=hostile)
def test_any_label_and_annotation_is_survived(label: str, weight: str, target: str, port: str) -> None:
    pod = Pod(
        uid="a",
        namespace="n",
        name="p",
        labels={"drcio.io/priority": label},
        annotations={
            "drcio.io/weight": weight,
            "drcio.io/latency-target": target,
            "prometheus.io/port": port,
        },
        qos_class=QosClass.BURSTABLE,
        phase="Running",
        pod_ip="10.0.0.1",
        container_ids=(),
    )

    found = asked(pod)
    assert found.weight in (None, *(range(1, 10_001)))
    assert all(len(problem) < 400 for problem in found.problems)
