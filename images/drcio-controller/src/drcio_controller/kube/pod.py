"""The Pod as the controller sees it: identity, labels, containers, and nothing else."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .errors import PodMalformed
from .jsontypes import JsonObject, object_at, objects_at, text_at

# A pod carries labels and annotations of any size (kubectl's last-applied manifest, a mesh's
# certificates, a megabyte on purpose). With 110 pods they would fill the memory budget: only these
# are ever read, so many of them, and so much of each. What is longer is cut to one character more
# than any reader accepts, so that the reader sees that it is too long.
KEPT_LABEL_PREFIX = "drcio.io/"
KEPT_ANNOTATION_PREFIXES = ("drcio.io/", "prometheus.io/")
KEPT_ENTRIES = 32
VALUE_LIMIT_CHARS = 512
KEPT_PORTS = 256
KEPT_CONTAINERS = 256
"""A manifest of a megabyte has room for forty thousand ports; a pod has a handful."""

# What kubelet writes onto the mirror of a static pod (pkg/kubelet/types, ConfigHashAnnotationKey and
# its neighbours). Anybody who may create a pod may write the same: see identity.py.
_CONFIG_HASH = "kubernetes.io/config.hash"
_CONFIG_MIRROR = "kubernetes.io/config.mirror"
_CONFIG_SOURCE = "kubernetes.io/config.source"
_STATIC_SOURCES = ("file", "http")

# These end up in a path below the cgroup root: nothing that could climb out of it is let in.
_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_CONTAINER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

# Names are in every log line: the API server's own alphabet (RFC 1123), checked once more.
NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")

_PORT_LIMIT = 65535


class QosClass(StrEnum):
    """Kubernetes' quality-of-service classes, spelled as in `status.qosClass`."""

    GUARANTEED = "Guaranteed"
    BURSTABLE = "Burstable"
    BEST_EFFORT = "BestEffort"


@dataclass(frozen=True, slots=True)
class Pod:
    """What the controller needs to know of a pod."""

    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    """Only those with KEPT_LABEL_PREFIX."""
    annotations: Mapping[str, str]
    """Only those with a prefix in KEPT_ANNOTATION_PREFIXES; a value is cut at VALUE_LIMIT_CHARS."""
    qos_class: QosClass
    phase: str
    pod_ip: str
    container_ids: tuple[str, ...]
    """Of its containers that were created, init and ephemeral ones included: the runtime's ids without their
    `containerd://`."""
    static_hash: str = ""
    """The uid that the pod, marked as the mirror of a static pod, says its cgroup is named after; a
    claim, to be believed by `identity.cgroup_uids` alone."""
    host_ips: tuple[str, ...] = ()
    """The node's addresses."""
    host_network: bool = False
    ports: frozenset[int] = frozenset()
    """TCP ports that its containers declare."""

    @property
    def ended(self) -> bool:
        """Return whether all containers have ended for good; its cgroup is then gone or going."""
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
    if not NAME.fullmatch(name) or not NAME.fullmatch(namespace):
        raise PodMalformed(
            f"pod {where[4:][:80]!r}: expected names of lower-case letters, digits, '-' and '.'"
        )
    if not _UID.fullmatch(uid):
        raise PodMalformed(f"{where}: metadata.uid is {uid[:40]!r}; expected letters, digits and dashes")
    node_name = text_at(document, "spec", "nodeName")
    status = object_at(document, "status")
    qos = text_at(status, "qosClass")
    try:
        qos_class = QosClass(qos)
    except ValueError:
        expected = ", ".join(QosClass)
        raise PodMalformed(f"{where}: status.qosClass is {qos[:40]!r}; expected one of {expected}") from None
    return Pod(
        uid=uid,
        namespace=namespace,
        name=name,
        labels=kept_labels(document),
        annotations=_strings(object_at(metadata, "annotations"), KEPT_ANNOTATION_PREFIXES),
        qos_class=qos_class,
        phase=text_at(status, "phase") or "Unknown",
        pod_ip=text_at(status, "podIP"),
        container_ids=_container_ids(status),
        static_hash=_static_hash(metadata, node_name),
        host_ips=_host_ips(status),
        host_network=object_at(document, "spec").get("hostNetwork") is True,
        ports=_declared_ports(object_at(document, "spec")),
    )


def kept_labels(document: JsonObject) -> dict[str, str]:
    """Return the labels of any object that are ever read."""
    return _strings(object_at(document, "metadata", "labels"), (KEPT_LABEL_PREFIX,))


def _strings(mapping: JsonObject, prefixes: tuple[str, ...]) -> dict[str, str]:
    kept = (
        (key, value[: VALUE_LIMIT_CHARS + 1])
        for key, value in mapping.items()
        if isinstance(value, str) and key.startswith(prefixes) and len(key) <= VALUE_LIMIT_CHARS
    )
    return dict(itertools.islice(kept, KEPT_ENTRIES))


def _static_hash(metadata: JsonObject, node_name: str) -> str:
    """Return the hash of a pod that has every mark of a static pod's mirror, or an empty text.

    kubelet makes a mirror with the hash in two annotations, the source that it read the static pod
    from, and one owner reference, to the node (pkg/kubelet/pod/mirror_client.go).
    """
    annotations = object_at(metadata, "annotations")
    claimed, mirror, source = (
        text_at(annotations, key) for key in (_CONFIG_HASH, _CONFIG_MIRROR, _CONFIG_SOURCE)
    )
    owners = metadata.get("ownerReferences")
    if not _UID.fullmatch(claimed) or mirror != claimed or source not in _STATIC_SOURCES:
        return ""
    if not isinstance(owners, list) or len(owners) != 1 or not isinstance(owners[0], dict):
        return ""
    kind, name = text_at(owners[0], "kind"), text_at(owners[0], "name")
    ours = text_at(owners[0], "apiVersion") == "v1" and kind == "Node" and name == node_name != ""
    return claimed if ours and owners[0].get("controller") is True else ""


def _host_ips(status: JsonObject) -> tuple[str, ...]:
    found = [text_at(status, "hostIP"), *(text_at(entry, "ip") for entry in objects_at(status, "hostIPs"))]
    return tuple(dict.fromkeys(ip for ip in found if ip))


def _declared_ports(spec: JsonObject) -> frozenset[int]:
    declared = (
        port.get("containerPort")
        for key in ("containers", "initContainers")
        for container in objects_at(spec, key)
        for port in objects_at(container, "ports")
        if text_at(port, "protocol") in ("", "TCP")
    )
    ports = (port for port in declared if type(port) is int and 0 < port <= _PORT_LIMIT)
    return frozenset(itertools.islice(ports, KEPT_PORTS))


def _container_ids(status: JsonObject) -> tuple[str, ...]:
    lists = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
    found = (
        text_at(entry, "containerID").rpartition("://")[2]
        for key in lists
        for entry in objects_at(status, key)
    )
    return tuple(itertools.islice(filter(_CONTAINER_ID.fullmatch, found), KEPT_CONTAINERS))
