"""The container's contract as Kubernetes JSON: defined here, used by the platform and by the node twin.

Imports nothing of the package, so that a Pulumi program can load it in no time.
"""

from collections.abc import Mapping, Sequence
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


def pod_template(
    *,
    image: str,
    claim: str,
    pattern: str = "mixed",
    block_size: str = "1MiB",
    num_workers: int = 16,
    file_size: str = "1GiB",
    duration_s: float | None = None,
    num_operations: int | None = None,
    rate_mib_s: float | None = None,
    seed: int = 1,
    summary: str | None = None,
    qos: Qos = "burstable",
    priority: str = "low",
) -> PodTemplate:
    """Describe one batch pod that works under /data/lp of the claim's volume.

    Without `duration_s` and `num_operations` it runs until it is told to stop. `summary` is a path in
    the container; the summary is the last line of its log in any case.
    """
    args = [
        "run",
        f"--dir={DATA_DIR}",
        f"--pattern={pattern}",
        f"--block-size={block_size}",
        f"--num-workers={num_workers}",
        f"--file-size={file_size}",
        f"--seed={seed}",
        f"--metrics-port={METRICS_PORT}",
    ]
    for option, value in (
        ("--duration", duration_s),
        ("--num-operations", num_operations),
        ("--rate", rate_mib_s),
        ("--summary", summary),
    ):
        if value is not None:
            args.append(f"{option}={value}")

    # Small requests: a batch job takes what is left. A memory limit, because its buffers are bounded
    # (twice the queue depth times the block size) and a leak should hit itself.
    resources: dict[str, Json] = (
        {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
        if qos == "burstable"
        else {}
    )
    return PodTemplate(
        metadata={
            "labels": {"app": APP, "drcio.io/priority": priority},
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
                    "image": image,
                    "command": ["lp-batch"],
                    "args": args,
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
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        },
    )
