"""Turn Kubernetes pods into what the controller needs to know about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from drcio_controller.config import (
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

DEFAULT_LATENCY_METRIC: Final = "gnn_request_latency_seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySource:
    """Where a pod shows its own latency histogram, and what it aims at."""

    target: LatencyTarget
    metric: str
    url: str


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
    weight: int | None = None
    latency: LatencySource | None = None
    problems: tuple[str, ...] = ()
    """What in labels and annotations could not be used, for people to read."""

    @property
    def managed(self) -> bool:
        return self.weight is not None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


def classify(pod: Pod, config: Config, cgroup_uid: str = "") -> NodePod | None:
    """Return what a pod asks for, or None for a pod that has no processes any more.

    Precedence: annotation over class over the kernel's default. Garbage in a label or an annotation
    never stops the controller: the pod is treated as if it were absent, and `problems` says so.
    """
    if pod.ended:
        return None
    problems: list[str] = []
    label = pod.labels.get(PRIORITY_LABEL)
    entry = config.classes.get(label) if label is not None else None
    if label is not None and entry is None:
        choices = ", ".join(config.classes)
        problems.append(f"label {PRIORITY_LABEL} is {label[:63]!r}; expected one of {choices}")
    weight = entry.weight if entry else None
    own_weight = pod.annotations.get(WEIGHT_ANNOTATION)
    if own_weight is not None and entry is not None:
        if own_weight.isascii() and own_weight.isdigit() and WEIGHT_MIN <= int(own_weight[:6]) <= WEIGHT_MAX:
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
    return NodePod(
        uid=pod.uid,
        cgroup_uid=cgroup_uid or pod.uid,
        namespace=pod.namespace,
        name=pod.name,
        qos=pod.qos_class,
        priority=label if entry else None,
        weight=weight,
        latency=_latency_source(pod.annotations, target, pod.pod_ip) if entry and target else None,
        problems=tuple(problems),
    )


def _latency_source(
    annotations: Mapping[str, str], target: LatencyTarget, pod_ip: str
) -> LatencySource | None:
    port = annotations.get("prometheus.io/port", "")
    if not pod_ip or not (port.isascii() and port.isdigit()):
        return None
    scheme = annotations.get("prometheus.io/scheme", "http")
    path = annotations.get("prometheus.io/path", "/metrics")
    host = f"[{pod_ip}]" if ":" in pod_ip else pod_ip
    return LatencySource(
        target=target,
        metric=annotations.get(LATENCY_METRIC_ANNOTATION, DEFAULT_LATENCY_METRIC),
        url=f"{scheme}://{host}:{port}{path if path.startswith('/') else '/' + path}",
    )
