"""What every pod that sends load has, as Kubernetes JSON: used by the platform and by the node twin.

Imports nothing of the package, so that a Pulumi program can load it in no time.
"""

from collections.abc import Mapping, Sequence
from typing import TypedDict

UID = 10001

Json = str | int | bool | Sequence["Json"] | Mapping[str, "Json"]


class PodTemplate(TypedDict):
    """What Kubernetes calls PodTemplateSpec."""

    metadata: dict[str, Json]
    spec: dict[str, Json]


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
