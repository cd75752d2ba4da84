"""Define the service's pod, once, for the cluster and for the node twin.

Plain Kubernetes JSON, standard library only: a Pulumi program imports this in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Json = dict[str, object]

NAME = "hp-gnn-service"
PORT = 8080
DATA_MOUNT = "/data"
DATA_DIR = "/data/hp"
IMAGE_CACHE_DIR = "/opt/hp-service/cache"
"""Where the image keeps the data package, so that `prepare` needs no network in a cluster."""
USER_ID = 10001
DRAIN_S = 20
ROW_BYTES = 4096
"""What a row of the feature file takes, and one `gnn_feature_rows_read_total` counts."""

LABELS = {"app": NAME, "drcio.io/priority": "high"}

Resources = Mapping[str, Mapping[str, str]]

BURSTABLE: Resources = {
    "requests": {"cpu": "1", "memory": "768Mi"},
    "limits": {"cpu": "2", "memory": "2Gi"},
}
GUARANTEED: Resources = {
    "requests": {"cpu": "1", "memory": "2Gi"},
    "limits": {"cpu": "1", "memory": "2Gi"},
}


@dataclass(frozen=True, kw_only=True)
class PodOptions:
    image: str
    claim_name: str
    """The PersistentVolumeClaim that is mounted at /data."""
    resources: Resources = field(default_factory=lambda: BURSTABLE)
    prepare: bool = True
    """Run `hp-service prepare` in an init container; off where the volume is filled beforehand."""
    scale: int = 1
    start_up_s: int = 600
    """How long loading may take before the kubelet gives up. An emulated node needs a
    minute, and several when its host is busy."""
    labels: Mapping[str, str] | None = None
    """Added to, and overriding, LABELS."""


def pod_template(options: PodOptions) -> Json:
    """Return a Kubernetes PodTemplateSpec: `metadata` and `spec`."""
    spec: Json = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": DRAIN_S + 10,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            # Without it the kubelet would visit every file of a large volume on every start.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_serving_container(options)],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": options.claim_name}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }
    if options.prepare:
        spec["initContainers"] = [_prepare_container(options)]
    return {
        "metadata": {
            "labels": {**LABELS, **(options.labels or {})},
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(PORT),
                "prometheus.io/path": "/metrics",
            },
        },
        "spec": spec,
    }


def _serving_container(options: PodOptions) -> Json:
    serve = ["serve", "--data", DATA_DIR, "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104  # a pod's own address
    return {
        **_container(NAME, options.image, [*serve, "--drain-seconds", str(DRAIN_S)], options.resources),
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": _probe("/readyz", period_s=5, failures=-(-options.start_up_s // 5)),
        "readinessProbe": _probe("/readyz", period_s=10, failures=3),
        # Generous: a disk under contention slows requests, and a restart would not cure that.
        "livenessProbe": _probe("/healthz", period_s=20, failures=6),
    }


def _prepare_container(options: PodOptions) -> Json:
    arguments = ["prepare", "--data", DATA_DIR, "--cache-dir", IMAGE_CACHE_DIR, "--scale", str(options.scale)]
    return _container("prepare", options.image, arguments, options.resources)


def _container(name: str, image: str, arguments: list[str], resources: Resources) -> Json:
    return {
        "name": name,
        "image": image,
        "command": ["hp-service"],
        "args": arguments,
        "env": [
            # Nothing may write to the image: libraries that keep files in the home folder get this one.
            {"name": "HOME", "value": "/tmp"},  # noqa: S108  # the emptyDir below
        ],
        "resources": {kind: dict(amounts) for kind, amounts in resources.items()},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "data", "mountPath": DATA_MOUNT},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # an emptyDir of the pod's own
        ],
    }


def _probe(path: str, *, period_s: int, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": PORT},
        "periodSeconds": period_s,
        # An emulated node answers slowly under load.
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
