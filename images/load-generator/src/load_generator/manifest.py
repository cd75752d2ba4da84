"""The container's contract as Kubernetes JSON: defined here, used by the platform and by the node twin.

Imports nothing of the package, so that a Pulumi program can load it in no time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class PodOptions:
    """What load a pod sends, and where to."""

    image: str
    url: str
    level: Literal["low", "medium", "high"] = "low"
    rate_rps: float | None = None
    """Instead of the level's."""
    duration_s: float = 60.0
    warmup_s: float = 10.0
    seed: int = 1
    arrivals: Literal["poisson", "constant"] = "poisson"
    ids_max: int = 1000
    timeout_s: float = 30.0
    ready_timeout_s: float = 300.0
    results: Mapping[str, Json] | None = None
    """The volume source mounted at /results; None is an emptyDir."""

    @property
    def args(self) -> list[str]:
        """Return the container's arguments."""
        return [
            "run",
            f"--url={self.url}",
            f"--level={self.level}" if self.rate_rps is None else f"--rate={self.rate_rps}",
            f"--duration={self.duration_s}",
            f"--warmup={self.warmup_s}",
            f"--seed={self.seed}",
            f"--arrivals={self.arrivals}",
            f"--ids-max={self.ids_max}",
            f"--timeout={self.timeout_s}",
            f"--ready-timeout={self.ready_timeout_s}",
            f"--output={RESULTS_DIR}",
        ]


def pod_template(options: PodOptions) -> PodTemplate:
    """Describe one Job pod that sends load and leaves /results/load.json."""
    return loading_pod(
        APP,
        {
            "name": CONTAINER,
            "image": options.image,
            "command": ["load-generator"],
            "args": options.args,
            "volumeMounts": [{"name": "results", "mountPath": RESULTS_DIR}],
        },
        {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 10,
            "volumes": [{"name": "results", **(options.results or {"emptyDir": {}})}],
        },
    )


def loading_pod(app: str, container: Mapping[str, Json], spec: Mapping[str, Json]) -> PodTemplate:
    """Describe a Job's pod that sends load: one container, which may write to its volumes only.

    The pod has no priority label: load is not a workload that the controller weighs.
    """
    return PodTemplate(
        metadata={"labels": {"app": app}},
        spec={
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": UID,
                "runAsGroup": UID,
                "fsGroup": UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
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
                    **container,
                }
            ],
            **spec,
        },
    )
