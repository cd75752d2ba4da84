"""Kubernetes objects of a dry run as files that `kubectl apply` takes, in an order that works."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

import yaml

from drcio_controller.kube.jsontypes import Json
from stacks.preview.dryrun import DryRun, Inputs, Registration

_PREFIX: Final = "kubernetes:"
_NOT_OBJECTS: Final = frozenset({"kubernetes:helm.sh/v3:Release"})

_RANKS: Final[Mapping[str, int]] = {
    kind: rank
    for rank, kinds in enumerate(
        (
            ("Namespace",),
            ("PriorityClass", "StorageClass"),
            ("ServiceAccount", "ClusterRole", "Role"),
            ("ClusterRoleBinding", "RoleBinding"),
            ("ConfigMap", "Secret", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
            ("PersistentVolumeClaim",),
            ("Service", "NetworkPolicy"),
            ("DaemonSet", "ReplicaSet"),
            ("Deployment",),
            ("Job",),
            # Their definitions come with kube-prometheus-stack.
            ("PodMonitor", "ServiceMonitor", "PrometheusRule"),
        ),
        start=1,
    )
    for kind in kinds
}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One object, and the name of its file."""

    file_name: str
    content: Inputs

    def as_yaml(self) -> str:
        return str(yaml.safe_dump(self.content, sort_keys=False, width=110))


def manifests(run: DryRun) -> list[Manifest]:
    """Return a run's Kubernetes objects; applied by file name, each finds what it needs."""
    found = [_manifest(item) for item in run.registrations if is_object(item)]
    return sorted(found, key=lambda manifest: manifest.file_name)


def is_object(registration: Registration) -> bool:
    """Return whether the program makes it as an object of the Kubernetes API.

    A Helm release is none, and a patch is of an object that is there.
    """
    patches = registration.type.endswith("Patch")
    if registration.is_read or patches or registration.type in _NOT_OBJECTS:
        return False
    return registration.type.startswith(_PREFIX)


def helm_values(run: DryRun) -> Iterator[tuple[str, Inputs]]:
    """Yield each Helm release's name and inputs."""
    for item in run.registrations:
        if item.type in _NOT_OBJECTS:
            yield str(item.inputs["name"]), item.inputs


def _manifest(registration: Registration) -> Manifest:
    content = cast(Inputs, _without_pulumi(registration.inputs))
    kind = str(content["kind"])
    metadata = content["metadata"]
    space = f"{metadata['namespace']}-" if "namespace" in metadata else ""
    rank = _RANKS.get(kind, len(_RANKS) + 1)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind).lower()
    ordered: Inputs = {name: content[name] for name in ("apiVersion", "kind", "metadata") if name in content}
    return Manifest(
        file_name=f"{rank:02d}-{words}-{space}{metadata['name']}.yaml",
        content={**ordered, **{name: value for name, value in content.items() if name not in ordered}},
    )


def _without_pulumi(value: Json) -> Json:
    """Drop annotations that only the Pulumi provider understands."""
    if isinstance(value, list):
        return [_without_pulumi(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    cleaned = {
        name: _without_pulumi(entry) for name, entry in value.items() if not name.startswith("pulumi.com/")
    }
    return {name: entry for name, entry in cleaned.items() if not (name == "annotations" and entry == {})}
