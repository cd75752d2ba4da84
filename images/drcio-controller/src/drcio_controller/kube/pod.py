"""The Pod as the controller sees it: identity, labels, containers, and nothing else."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .errors import PodMalformed
from .jsontypes import JsonObject, object_at, objects_at, text_at

# A pod carries annotations of any size (kubectl's last-applied manifest, a mesh's certificates).
# With 110 pods they would fill the memory budget; only these are ever read.
KEPT_ANNOTATION_PREFIXES = ("drcio.io/", "prometheus.io/", "kubernetes.io/config.")

# A static pod's cgroup is named after this hash, not after the uid of its mirror in the API
# (kubelet: pkg/kubelet/types, ConfigHashAnnotationKey).
_CONFIG_HASH = "kubernetes.io/config.hash"

# Both end up in a path below the cgroup root: nothing that could climb out of it is let in.
_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_CONTAINER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class QosClass(StrEnum):
    """Kubernetes' quality-of-service classes, spelled as in `status.qosClass`."""

    GUARANTEED = "Guaranteed"
    BURSTABLE = "Burstable"
    BEST_EFFORT = "BestEffort"


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod, init and ephemeral ones included."""

    name: str
    id: str
    """The runtime's id without its `containerd://`; empty until the container was created."""
    running: bool


@dataclass(frozen=True, slots=True)
class Pod:
    """What the controller needs to know of a pod."""

    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    """Only those with a prefix in KEPT_ANNOTATION_PREFIXES."""
    node_name: str
    qos_class: QosClass
    phase: str
    pod_ip: str
    containers: tuple[Container, ...]
    deletion_timestamp: str
    """RFC 3339; empty while nobody has deleted the pod."""
    resource_version: str

    @property
    def key(self) -> str:
        """Return `namespace/name`, for people."""
        return f"{self.namespace}/{self.name}"

    @property
    def cgroup_uid(self) -> str:
        """Return the uid that kubelet named the pod's cgroup after."""
        return self.annotations.get(_CONFIG_HASH, self.uid)

    @property
    def ended(self) -> bool:
        """Say whether all containers have ended for good; its cgroup is then gone or going."""
        return self.phase in ("Succeeded", "Failed")


def parse_pod(document: JsonObject) -> Pod:
    """Return the pod in `document`, a `v1.Pod` as the API server sends it.

    Unknown fields, and known ones with an odd value that nothing depends on, are let pass.

    Raises PodMalformed where identity or QoS class cannot be known.
    """
    metadata = object_at(document, "metadata")
    namespace, name, uid = (text_at(metadata, key) for key in ("namespace", "name", "uid"))
    where = f"pod {namespace or '?'}/{name or '?'}"
    if not name or not namespace:
        raise PodMalformed(f"{where}: metadata.name and metadata.namespace are needed")
    if not _UID.fullmatch(uid):
        raise PodMalformed(f"{where}: metadata.uid is {uid!r}; expected letters, digits and dashes")
    annotations = _strings(object_at(metadata, "annotations"), KEPT_ANNOTATION_PREFIXES)
    if not _UID.fullmatch(annotations.get(_CONFIG_HASH, uid)):
        raise PodMalformed(f"{where}: {_CONFIG_HASH} is {annotations[_CONFIG_HASH]!r}; expected a hash")
    status = object_at(document, "status")
    qos = text_at(status, "qosClass")
    try:
        qos_class = QosClass(qos)
    except ValueError:
        expected = ", ".join(QosClass)
        raise PodMalformed(f"{where}: status.qosClass is {qos!r}; expected one of {expected}") from None
    return Pod(
        uid=uid,
        namespace=namespace,
        name=name,
        labels=_strings(object_at(metadata, "labels"), ("",)),
        annotations=annotations,
        node_name=text_at(document, "spec", "nodeName"),
        qos_class=qos_class,
        phase=text_at(status, "phase") or "Unknown",
        pod_ip=text_at(status, "podIP"),
        containers=_containers(status),
        deletion_timestamp=text_at(metadata, "deletionTimestamp"),
        resource_version=text_at(metadata, "resourceVersion"),
    )


def _strings(mapping: JsonObject, prefixes: tuple[str, ...]) -> dict[str, str]:
    return {k: v for k, v in mapping.items() if isinstance(v, str) and k.startswith(prefixes)}


def _containers(status: JsonObject) -> tuple[Container, ...]:
    lists = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
    return tuple(
        Container(
            name=text_at(entry, "name"),
            id=_bare_id(text_at(entry, "containerID")),
            running="running" in object_at(entry, "state"),
        )
        for key in lists
        for entry in objects_at(status, key)
    )


def _bare_id(container_id: str) -> str:
    bare = container_id.rpartition("://")[2]
    return bare if _CONTAINER_ID.fullmatch(bare) else ""
