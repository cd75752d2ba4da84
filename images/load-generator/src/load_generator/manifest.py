"""The container's contract as Kubernetes JSON: defined here, used by the platform and by the node twin.

Imports nothing of the package, so that a Pulumi program can load it in no time.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

APP = "load-generator"
CONTAINER = "load-generator"
RESULTS_DIR = "/results"
UID = 10001

Json = str | int | bool | Sequence["Json"] | Mapping[str, "Json"]


class PodTemplate(TypedDict):
    """What Kubernetes calls PodTemplateSpec."""

    metadata: dict[str, Json]
    spec: dict[str, Json]


def pod_template(
    *,
    image: str,
    url: str,
    level: Literal["low", "medium", "high"] = "low",
    rate_rps: float | None = None,
    duration_s: float = 60.0,
    warmup_s: float = 10.0,
    seed: int = 1,
    arrivals: Literal["poisson", "constant"] = "poisson",
    ids_max: int = 1000,
    timeout_s: float = 30.0,
    ready_timeout_s: float = 300.0,
    results: Mapping[str, Json] | None = None,
) -> PodTemplate:
    """Describe one Job pod that sends load and leaves /results/load.json.

    `rate_rps` overrides `level`. `results` is the volume source mounted at /results, an emptyDir by
    default. The pod has no priority label: load is not a workload that the controller weighs.
    """
    rate = f"--level={level}" if rate_rps is None else f"--rate={rate_rps}"
    return PodTemplate(
        metadata={"labels": {"app": APP}},
        spec={
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 10,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": UID,
                "runAsGroup": UID,
                "fsGroup": UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": CONTAINER,
                    "image": image,
                    "command": ["load-generator"],
                    "args": [
                        "run",
                        f"--url={url}",
                        rate,
                        f"--duration={duration_s}",
                        f"--warmup={warmup_s}",
                        f"--seed={seed}",
                        f"--arrivals={arrivals}",
                        f"--ids-max={ids_max}",
                        f"--timeout={timeout_s}",
                        f"--ready-timeout={ready_timeout_s}",
                        f"--output={RESULTS_DIR}",
                    ],
                    # No CPU limit: a throttled generator falls behind its schedule.
                    "resources": {
                        "requests": {"cpu": "250m", "memory": "128Mi"},
                        "limits": {"memory": "512Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "results", "mountPath": RESULTS_DIR}],
                }
            ],
            "volumes": [{"name": "results", **(results or {"emptyDir": {}})}],
        },
    )
