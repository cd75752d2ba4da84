"""The container's contract as Kubernetes JSON: defined here, used by the platform and by the node twin.

Imports nothing of the package, so that a Pulumi program can load it in no time.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

APP = "drcio-experiment"
CONTAINER = "experiment"
WORKING_DIR = "/opt/drcio"
"""Where the image keeps the `experiments` package."""

RESULTS_KEY = "results.json"
"""The ConfigMap's entry that holds drcio.results/1."""
RECORD_KEY = "run.json.gz"
"""The ConfigMap's binary entry that holds drcio.run/1, compressed; absent where it found no room."""

JOB_UID_LABEL = "batch.kubernetes.io/controller-uid"
"""Kubernetes puts it on a Job's pods (since 1.27)."""
UID = 10001

Json = str | int | bool | Sequence["Json"] | Mapping[str, "Json"]


class PodTemplate(TypedDict):
    """What Kubernetes calls PodTemplateSpec."""

    metadata: dict[str, Json]
    spec: dict[str, Json]


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """What to measure, and where everybody is."""

    image: str
    spec: Mapping[str, object]
    """drcio.spec/1, of one scenario and one repeat."""
    config_map: str
    namespace: str
    """Of the ConfigMap and the workloads."""
    service_url: str
    hp_metrics: str
    """HOST:PORT of the service's pods; a host name may stand for several (a headless Service)."""
    lp_metrics: str | None = None
    controller: str | None = None
    claim: str
    expected_pods: Mapping[str, int] | None = None
    """App label to how many of its pods may run; everybody else is waited out. None looks at nobody."""
    controller_config: str | None = None
    """Digest of the configuration that the controller must run on; None takes what it has."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """Added to the record's environment, such as the images."""
    pods: int = 1
    """Load generators, each an index of one indexed Job."""
    api_server: str | None = None
    """None is the cluster's own, with the pod's service account."""
    working_dir: str = WORKING_DIR
    """Another where a checkout stands for the image, as on the node twin."""

    @property
    def args(self) -> list[str]:
        """Return the container's arguments."""
        expected = None if self.expected_pods is None else _dump(self.expected_pods)
        given = (
            ("--expected-pods", expected),
            ("--lp-metrics", self.lp_metrics),
            ("--controller", self.controller),
            ("--controller-config", self.controller_config),
            ("--api-server", self.api_server),
        )
        return [
            f"--spec={_dump(self.spec)}",
            f"--service-url={self.service_url}",
            f"--hp-metrics={self.hp_metrics}",
            f"--claim={self.claim}",
            f"--config-map={self.config_map}",
            f"--namespace={self.namespace}",
            f"--facts={_dump(self.facts)}",
            f"--pods={self.pods}",
            *(f"{option}={value}" for option, value in given if value is not None),
        ]


def pod_template(options: RunnerOptions) -> PodTemplate:
    """Describe a pod of the Job that measures: one container, which may write to its volumes only.

    The pod has no priority label: load is not a workload that the controller weighs.
    """
    return PodTemplate(
        metadata={"labels": {"app": APP}},
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
            "containers": [_container(options)],
            "serviceAccountName": APP,
            "automountServiceAccountToken": options.api_server is None,
            # A stop drops the requests in flight, judges what there is and publishes it.
            "terminationGracePeriodSeconds": 30,
        },
    )


def _container(options: RunnerOptions) -> dict[str, Json]:
    return {
        # No CPU limit: a throttled generator falls behind its schedule.
        "resources": {"requests": {"cpu": "250m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "name": CONTAINER,
        "image": options.image,
        "command": ["python", "-m", "experiments.job"],
        "args": options.args,
        "workingDir": options.working_dir,
        "env": [
            {
                "name": "JOB_UID",
                "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{JOB_UID_LABEL}']"}},
            }
        ],
    }


def _dump(value: Mapping[str, object]) -> str:
    # Kubernetes and the twin expand $(NAME) in arguments, and $$ to $.
    return json.dumps(value, sort_keys=True, separators=(",", ":")).replace("$", "$$")
