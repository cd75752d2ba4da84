"""Who may run while a scenario is measured: exactly its own parts, and nobody who is about to leave.

An in-place switch of the scenario, a deployment that was interrupted, another stack's controller on the
same node or a pod made by hand would each be measured with it, and nothing in the figures would say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from experiments.job.api import Api
from experiments.records.jsonfields import JsonObject, JsonValue, objects

JOB_UID_LABEL: Final = "batch.kubernetes.io/controller-uid"
"""Kubernetes puts it on a Job's pods (since 1.27)."""
_NAMED: Final = 5
"""How many are named in a message; a leftover batch job may have dozens of pods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a scenario consists of."""

    namespace: str
    service: str
    """The app label of the service's pods; likewise the others."""
    batch_job: str
    controller: str
    experiment: str
    job_uid: str
    """Of this experiment; the pods of another are no part of it."""
    expected: Mapping[str, int]
    """App to how many of its pods may run: in the namespace, of a controller on the service's node."""

    @property
    def apps(self) -> tuple[str, ...]:
        return self.service, self.batch_job, self.controller, self.experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pod:
    namespace: str
    name: str
    app: str
    node: str
    job_uid: str
    leaving: bool
    created: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}{' (terminating)' if self.leaving else ''}"


def strangers(api: Api, scene: Scene) -> list[str]:
    """Return the pods that run and do not belong to the scenario; raises ApiRefused."""
    selector = quote(f"app in ({','.join(scene.apps)})")
    return found_in(api.get(f"/api/v1/pods?labelSelector={selector}"), scene)


def found_in(pod_list: JsonObject, scene: Scene) -> list[str]:
    """Return the strangers in a list of pods; pure."""
    pods = [pod for pod in _running(pod_list) if pod.app in scene.apps]
    here = [pod for pod in pods if pod.namespace == scene.namespace]
    nodes = {pod.node for pod in here if pod.app == scene.service}
    groups = [
        (scene.service, [pod for pod in here if pod.app == scene.service]),
        (scene.batch_job, [pod for pod in here if pod.app == scene.batch_job]),
        # One of another stack, or of all the cluster's, moves the same node's limits.
        (scene.controller, [pod for pod in pods if pod.app == scene.controller and pod.node in nodes]),
    ]
    wrong: list[_Pod] = []
    for app, members in groups:
        staying = sorted((pod for pod in members if not pod.leaving), key=lambda pod: (pod.created, pod.name))
        wrong += [pod for pod in members if pod.leaving]
        wrong += staying[scene.expected.get(app, 0) :]
    wrong += [pod for pod in here if pod.app == scene.experiment and pod.job_uid != scene.job_uid]
    return [str(pod) for pod in wrong]


def shown(names: Sequence[str]) -> str:
    """Return the names for a message, not too many of them."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _running(pod_list: JsonObject) -> Iterator[_Pod]:
    for item in objects(pod_list.get("items")):
        metadata, spec, status = (_object(item.get(part)) for part in ("metadata", "spec", "status"))
        if status.get("phase") in ("Succeeded", "Failed"):
            continue
        labels = _object(metadata.get("labels"))
        yield _Pod(
            namespace=str(metadata.get("namespace", "")),
            name=str(metadata.get("name", "")),
            app=str(labels.get("app", "")),
            node=str(spec.get("nodeName", "")),
            job_uid=str(labels.get(JOB_UID_LABEL, "")),
            leaving="deletionTimestamp" in metadata,
            created=str(metadata.get("creationTimestamp", "")),
        )


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, Mapping) else {}
