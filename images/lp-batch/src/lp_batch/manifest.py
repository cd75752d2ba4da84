"""The container's contract as Kubernetes JSON: defined here, used by the platform and by the node twin.

Imports nothing of the package, so that a Pulumi program can load it in no time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

APP = "lp-batch"
CONTAINER = "lp-batch"
METRICS_PORT = 9100
DATA_MOUNT = "/data"
DATA_DIR = "/data/lp"
UID = 10001

Qos = Literal["burstable", "besteffort"]
Json = str | int | bool | Sequence["Json"] | Mapping[str, "Json"]


class PodTemplate(TypedDict):
    """What Kubernetes calls PodTemplateSpec."""

    metadata: dict[str, Json]
    spec: dict[str, Json]


@dataclass(frozen=True, kw_only=True)
class PodOptions:
    """What a batch pod does, and where. Without a duration or a number of operations it has no end."""

    image: str
    claim: str
    pattern: str = "mixed"
    block_size: str = "1MiB"
    num_workers: int = 16
    file_size: str = "1GiB"
    duration_s: float | None = None
    num_operations: int | None = None
    rate_mib_s: float | None = None
    seed: int = 1
    summary: str | None = None
    """A path in the container; the summary is the last line of its log in any case."""
    qos: Qos = "burstable"
    priority: str = "low"

    @property
    def args(self) -> list[str]:
        """Return the container's arguments."""
        given = (
            ("--duration", self.duration_s),
            ("--num-operations", self.num_operations),
            ("--rate", self.rate_mib_s),
            ("--summary", self.summary),
        )
        return [
            "run",
            f"--dir={DATA_DIR}",
            f"--pattern={self.pattern}",
            f"--block-size={self.block_size}",
            f"--num-workers={self.num_workers}",
            f"--file-size={self.file_size}",
            f"--seed={self.seed}",
            f"--metrics-port={METRICS_PORT}",
            *(f"{option}={value}" for option, value in given if value is not None),
        ]


def pod_template(options: PodOptions) -> PodTemplate:
    """Describe one batch pod that works under /data/lp of the claim's volume."""
    # Small requests: a batch job takes what is left. A memory limit, because its buffers are bounded
    # (twice the queue depth times the block size) and a leak should hit itself.
    resources: dict[str, Json] = (
        {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
        if options.qos == "burstable"
        else {}
    )
    return PodTemplate(
        metadata={
            "labels": {"app": APP, "drcio.io/priority": options.priority},
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(METRICS_PORT),
                "prometheus.io/path": "/metrics",
            },
        },
        spec={
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # A stop takes a second; what a throttled volume still holds then is the kernel's to finish.
            "terminationGracePeriodSeconds": 10,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": UID,
                "runAsGroup": UID,
                "fsGroup": UID,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": CONTAINER,
                    "image": options.image,
                    "command": ["lp-batch"],
                    "args": options.args,
                    "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
                    "resources": resources,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "data", "mountPath": DATA_MOUNT}],
                }
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": options.claim}}],
        },
    )
