"""Turn Kubernetes pods into what the controller needs to know about them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from drcio_controller.config import (
    KERNEL_DEFAULT_WEIGHT,
    LATENCY_METRIC_ANNOTATION,
    LATENCY_TARGET_ANNOTATION,
    PRIORITY_LABEL,
    WEIGHT_ANNOTATION,
    WEIGHT_MAX,
    WEIGHT_MIN,
    Config,
    LatencyTarget,
    parse_latency_target,
)
from drcio_controller.errors import ConfigError
from drcio_controller.kube.pod import Pod, QosClass
from drcio_controller.latency import scrape

DEFAULT_LATENCY_METRIC: Final = "gnn_request_latency_seconds"

PORT_ANNOTATION: Final = "prometheus.io/port"
PATH_ANNOTATION: Final = "prometheus.io/path"
SCHEME_ANNOTATION: Final = "prometheus.io/scheme"

_WEIGHT: Final = re.compile(r"[0-9]{1,5}")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_METRIC: Final = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]{0,199}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySource:
    """Where a pod shows its own latency histogram, and what it aims at."""

    target: LatencyTarget
    metric: str
    url: str


class Origin(StrEnum):
    """Where a pod's class comes from."""

    LABEL = "label"
    NAMESPACE = "namespace"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePod:
    """A pod of this node; `weight` is None where nobody asked for one."""

    uid: str
    cgroup_uid: str
    """What kubelet named its cgroup after: its own uid, or a static pod's hash (identity.py)."""
    namespace: str
    name: str
    qos: QosClass
    priority: str | None = None
    priority_from: Origin | None = None
    weight: int | None = None
    """What its cgroup is to hold."""
    standing: int | None = None
    """Its class's weight, by which its role goes; a weight of its own changes its share alone."""
    latency: LatencySource | None = None
    problems: tuple[str, ...] = ()
    """What in labels and annotations could not be used, for people to read."""

    @property
    def managed(self) -> bool:
        return self.weight is not None

    @property
    def ranked_weight(self) -> int:
        """Return the weight that its role goes by; a pod of no class counts as the kernel counts it."""
        if self.standing is not None:
            return self.standing
        return KERNEL_DEFAULT_WEIGHT if self.weight is None else self.weight

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


def classify(
    pod: Pod, config: Config, *, cgroup_uid: str = "", namespace_class: str | None = None
) -> NodePod | None:
    """Return what a pod asks for, or None for a pod that has no processes any more.

    Its class is its own label's, else its namespace's label's (`namespace_class`), else the
    configuration's default; a value that names no class is a problem, and the pod is left alone.
    A weight annotation is over the class's weight. Garbage in a label or an annotation never stops the
    controller: it counts as if it were absent, and `problems` says so.
    """
    if pod.ended:
        return None
    problems: list[str] = []
    label, origin = _class_label(pod, config, namespace_class)
    entry = config.classes.get(label) if label is not None else None
    if label is not None and entry is None:
        choices = ", ".join(config.classes)
        where = f"label {PRIORITY_LABEL}" + (" of its namespace" if origin is Origin.NAMESPACE else "")
        problems.append(f"{where} is {label[:63]!r}; expected one of {choices[:200]}")
    weight = entry.weight if entry else None
    own_weight = pod.annotations.get(WEIGHT_ANNOTATION)
    if own_weight is not None and entry is not None:
        if _WEIGHT.fullmatch(own_weight) and WEIGHT_MIN <= int(own_weight) <= WEIGHT_MAX:
            weight = int(own_weight)
        else:
            problems.append(
                f"annotation {WEIGHT_ANNOTATION} is {own_weight[:20]!r};"
                f" expected {WEIGHT_MIN} to {WEIGHT_MAX}"
            )
    target = entry.latency_target if entry else None
    own_target = pod.annotations.get(LATENCY_TARGET_ANNOTATION)
    if own_target is not None:
        try:
            target = parse_latency_target(own_target)
        except ConfigError as error:
            problems.append(f"annotation {LATENCY_TARGET_ANNOTATION}: {error}")
    source = _latency_source(pod, target) if entry and target else None
    if isinstance(source, str):
        problems.append(source)
        source = None
    return NodePod(
        uid=pod.uid,
        cgroup_uid=cgroup_uid or pod.uid,
        namespace=pod.namespace,
        name=pod.name,
        qos=pod.qos_class,
        priority=label if entry else None,
        priority_from=origin if entry else None,
        weight=weight,
        standing=entry.weight if entry else None,
        latency=source,
        problems=tuple(problems),
    )


def _class_label(pod: Pod, config: Config, namespace_class: str | None) -> tuple[str | None, Origin | None]:
    own = pod.labels.get(PRIORITY_LABEL)
    if own is not None:
        return own, Origin.LABEL
    if namespace_class is not None:
        return namespace_class, Origin.NAMESPACE
    return (config.default_class, Origin.DEFAULT) if config.default_class else (None, None)


def _latency_source(pod: Pod, target: LatencyTarget) -> LatencySource | str | None:
    """Return whom to ask, None where the pod names nobody, or why it may not be asked."""
    port = pod.annotations.get(PORT_ANNOTATION)
    if port is None or not pod.pod_ip:
        return None
    if not _PORT.fullmatch(port) or int(port) not in pod.ports:
        declared = ", ".join(map(str, sorted(pod.ports)[:8])) or "none"
        return (
            f"annotation {PORT_ANNOTATION} is {port[:20]!r}; expected a TCP port of its manifest: {declared}"
        )
    scheme = pod.annotations.get(SCHEME_ANNOTATION, "http")
    if scheme not in scrape.SCHEMES:
        return f"annotation {SCHEME_ANNOTATION} is {scheme[:20]!r}; expected {' or '.join(scrape.SCHEMES)}"
    path = pod.annotations.get(PATH_ANNOTATION, "/metrics")
    if not scrape.valid_path(path):
        return (
            f"annotation {PATH_ANNOTATION} is {path[:40]!r};"
            f" expected a plain path from / of at most {scrape.PATH_LIMIT_CHARS} characters"
        )
    metric = pod.annotations.get(LATENCY_METRIC_ANNOTATION, DEFAULT_LATENCY_METRIC)
    if not _METRIC.fullmatch(metric):
        return f"annotation {LATENCY_METRIC_ANNOTATION} is {metric[:40]!r}; expected a metric's name"
    refused = "is the node's own" if pod.host_network else scrape.refused_address(pod.pod_ip, pod.host_ips)
    if refused:
        return f"latency is not asked for: the address {pod.pod_ip[:45]!r} {refused}"
    host = f"[{pod.pod_ip}]" if ":" in pod.pod_ip else pod.pod_ip
    return LatencySource(target=target, metric=metric, url=f"{scheme}://{host}:{port}{path}")
