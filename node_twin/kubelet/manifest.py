"""A Pod manifest, read strictly into what the kubelet needs.

Fields that the twin has no use for are let pass; those it uses must be right.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final, NamedTuple, TypeAlias

from drcio_controller.kube.jsontypes import JsonObject

from .errors import ManifestError
from .quantity import milli, parse_quantity, whole

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_ENV_NAME = re.compile(r"[-._A-Za-z][-._A-Za-z0-9]*")


HOST_PATH_TYPES: Final = ("", "Directory", "DirectoryOrCreate")


class RestartPolicy(StrEnum):
    """When a container that ended runs again."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """Requests and limits; None where the manifest gives none. A request defaults to its limit."""

    cpu_request_milli: int | None = None
    cpu_limit_milli: int | None = None
    memory_request_bytes: int | None = None
    memory_limit_bytes: int | None = None


class LiteralEnv(NamedTuple):
    """`name: value`, in which `$(OTHER)` is expanded."""

    name: str
    value: str


class FieldEnv(NamedTuple):
    """A field of the pod (downward API)."""

    name: str
    field_path: str


class ConfigMapEnv(NamedTuple):
    """A key of a ConfigMap."""

    name: str
    config_map: str
    key: str
    optional: bool


EnvVar: TypeAlias = LiteralEnv | FieldEnv | ConfigMapEnv


class VolumeMount(NamedTuple):
    """Where a volume appears in a container."""

    volume: str
    mount_path: str
    sub_path: str
    read_only: bool


class ClaimVolume(NamedTuple):
    """A PersistentVolumeClaim: one of the twin's volumes."""

    name: str
    claim: str


class EmptyDirVolume(NamedTuple):
    """A directory that lives as long as the pod."""

    name: str


class HostPathVolume(NamedTuple):
    """A path of the node."""

    name: str
    path: str
    type: str


class ConfigMapVolume(NamedTuple):
    """A ConfigMap's keys as files, which follow its changes."""

    name: str
    config_map: str
    items: tuple[tuple[str, str], ...]
    """(key, path) pairs; all keys where empty."""
    optional: bool


Volume: TypeAlias = ClaimVolume | EmptyDirVolume | HostPathVolume | ConfigMapVolume


class HttpGet(NamedTuple):
    """Succeeds on a status of 200 to 399."""

    port: int
    path: str


class ExecAction(NamedTuple):
    """Succeeds when a command in the container ends with 0."""

    command: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """How to ask a container whether it is well."""

    action: HttpGet | ExecAction
    initial_delay_s: int
    period_s: int
    timeout_s: int
    failure_threshold: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerSpec:
    """One container as the manifest describes it."""

    name: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    working_dir: str
    env: tuple[EnvVar, ...]
    resources: Resources
    mounts: tuple[VolumeMount, ...]
    readiness: Probe | None
    startup: Probe | None
    read_only_root: bool
    privileged: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PodManifest:
    """One pod as the manifest describes it."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_name: str
    init_containers: tuple[ContainerSpec, ...]
    containers: tuple[ContainerSpec, ...]
    volumes: tuple[Volume, ...]
    restart_policy: RestartPolicy
    grace_period_s: int

    @property
    def all_containers(self) -> tuple[ContainerSpec, ...]:
        """Return init containers and containers."""
        return self.init_containers + self.containers


class Reader:
    """A JSON object that knows where in the manifest it stands."""

    def __init__(self, document: JsonObject, where: str) -> None:
        self._document = document
        self.where = where

    def __contains__(self, key: str) -> bool:
        return self._document.get(key) is not None

    def wrong(self, key: str, expected: str) -> ManifestError:
        """Return the error for `key`."""
        return ManifestError(f"{self._path(key)} is {self._document.get(key)!r}; expected {expected}")

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string; without a default it is required."""
        value = self._document.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or (default is None and not value):
            raise self.wrong(key, "a string")
        return value

    def flag(self, key: str) -> bool:
        """Return a boolean, false by default."""
        value = self._document.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return bool(value)

    def whole_number(self, key: str, default: int, *, least: int = 0) -> int:
        """Return an integer of at least `least`."""
        value = self._document.get(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.wrong(key, f"a whole number of at least {least}")
        return value

    def child(self, key: str) -> "Reader":
        """Return an object, empty by default."""
        value = self._document.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return Reader(value or {}, self._path(key))

    def children(self, key: str) -> list["Reader"]:
        """Return a list of objects, empty by default; each is named after its `name`, if it has one."""
        value = self._document.get(key)
        if value is None:
            return []
        readers = []
        for index, item in enumerate(value if isinstance(value, list) else [None]):
            if not isinstance(item, dict):
                raise self.wrong(key, "a list of objects")
            readers.append(Reader(item, f"{self._path(key)}[{item.get('name', index)}]"))
        return readers

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings, empty by default."""
        value = self._document.get(key)
        if value is None:
            return ()
        texts = tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
        if not isinstance(value, list) or len(texts) != len(value):
            raise self.wrong(key, "a list of strings")
        return texts

    def text_map(self, key: str) -> dict[str, str]:
        """Return an object of strings, empty by default."""
        child = self.child(key)
        return {name: child.text(name, "") for name in child._document}

    def quantity(self, key: str, convert: Callable[..., int]) -> int | None:
        """Return a quantity through `convert`, or None where there is none."""
        value = self._document.get(key)
        if value is None:
            return None
        try:
            return convert(parse_quantity(str(value)))
        except ValueError:
            raise self.wrong(key, "a quantity such as 250m or 1Gi") from None

    def port(self, key: str) -> int:
        """Return a port."""
        value = self._document.get(key)
        if not isinstance(value, int) or not 0 < value < 65536:
            raise self.wrong(key, "a port number")
        return value

    def restart_policy(self) -> RestartPolicy:
        """Return the restart policy, to restart always by default."""
        try:
            return RestartPolicy(self.text("restartPolicy", RestartPolicy.ALWAYS))
        except ValueError:
            raise self.wrong("restartPolicy", f"one of {', '.join(RestartPolicy)}") from None

    def _path(self, key: str) -> str:
        return f"{self.where}.{key}"


def parse_manifest(document: JsonObject) -> PodManifest:
    """Return the Pod in `document`; raise ManifestError where it cannot be run."""
    if document.get("kind") != "Pod":
        raise ManifestError(
            f"kind is {document.get('kind')!r}; expected 'Pod'",
            hint="the twin's kubelet runs Pods: take the template out of a Deployment or Job",
        )
    top = Reader(document, "pod")
    metadata = top.child("metadata")
    name = metadata.text("name")
    pod = Reader(document, f"pod {name}")
    if not _DNS_LABEL.fullmatch(name):
        raise ManifestError(f"metadata.name is {name!r}; expected lower-case letters, digits and dashes")
    spec = pod.child("spec")
    containers = tuple(_container(reader) for reader in spec.children("containers"))
    if not containers:
        raise spec.wrong("containers", "at least one container")
    manifest = PodManifest(
        namespace=metadata.text("namespace", "default"),
        name=name,
        uid=metadata.text("uid", ""),
        labels=metadata.text_map("labels"),
        annotations=metadata.text_map("annotations"),
        node_name=spec.text("nodeName", ""),
        init_containers=tuple(_container(reader) for reader in spec.children("initContainers")),
        containers=containers,
        volumes=tuple(_volume(reader) for reader in spec.children("volumes")),
        restart_policy=spec.restart_policy(),
        grace_period_s=spec.whole_number("terminationGracePeriodSeconds", 30),
    )
    _check_names(manifest, spec.where)
    return manifest


def _check_names(manifest: PodManifest, where: str) -> None:
    names = [container.name for container in manifest.all_containers]
    if len(names) != len(set(names)):
        raise ManifestError(f"{where}.containers are named {', '.join(names)}; expected distinct names")
    volumes = {volume.name for volume in manifest.volumes}
    for container in manifest.all_containers:
        for mount in container.mounts:
            if mount.volume not in volumes:
                raise ManifestError(
                    f"{where}.containers[{container.name}].volumeMounts names the volume {mount.volume!r};"
                    f" expected one of {', '.join(sorted(volumes)) or 'none, there are no volumes'}"
                )


def _container(reader: Reader) -> ContainerSpec:
    name = reader.text("name")
    if not _DNS_LABEL.fullmatch(name):
        raise reader.wrong("name", "lower-case letters, digits and dashes")
    if "restartPolicy" in reader:
        raise reader.wrong("restartPolicy", "none: the twin has no sidecar containers; make it a container")
    security = reader.child("securityContext")
    return ContainerSpec(
        name=name,
        image=reader.text("image", ""),
        command=reader.texts("command"),
        args=reader.texts("args"),
        working_dir=reader.text("workingDir", ""),
        env=tuple(_env(entry) for entry in reader.children("env")),
        resources=_resources(reader.child("resources")),
        mounts=tuple(_mount(entry) for entry in reader.children("volumeMounts")),
        readiness=_probe(reader, "readinessProbe"),
        startup=_probe(reader, "startupProbe"),
        read_only_root=security.flag("readOnlyRootFilesystem"),
        privileged=security.flag("privileged"),
    )


def _resources(reader: Reader) -> Resources:
    requests, limits = reader.child("requests"), reader.child("limits")
    cpu_limit_milli = limits.quantity("cpu", milli)
    memory_limit_bytes = limits.quantity("memory", whole)
    cpu_request_milli = requests.quantity("cpu", milli)
    memory_request_bytes = requests.quantity("memory", whole)
    for key, request, limit in (
        ("cpu", cpu_request_milli, cpu_limit_milli),
        ("memory", memory_request_bytes, memory_limit_bytes),
    ):
        if request is not None and limit is not None and request > limit:
            raise requests.wrong(key, "at most the limit")
    return Resources(
        cpu_request_milli=cpu_limit_milli if cpu_request_milli is None else cpu_request_milli,
        cpu_limit_milli=cpu_limit_milli,
        memory_request_bytes=memory_limit_bytes if memory_request_bytes is None else memory_request_bytes,
        memory_limit_bytes=memory_limit_bytes,
    )


def _env(reader: Reader) -> EnvVar:
    name = reader.text("name")
    if not _ENV_NAME.fullmatch(name):
        raise reader.wrong("name", "the name of an environment variable")
    if "valueFrom" not in reader:
        return LiteralEnv(name, reader.text("value", ""))
    source = reader.child("valueFrom")
    if "fieldRef" in source:
        return FieldEnv(name, source.child("fieldRef").text("fieldPath"))
    if "configMapKeyRef" in source:
        reference = source.child("configMapKeyRef")
        return ConfigMapEnv(name, reference.text("name"), reference.text("key"), reference.flag("optional"))
    raise reader.wrong("valueFrom", "fieldRef or configMapKeyRef, which is what the twin has")


def _mount(reader: Reader) -> VolumeMount:
    mount_path, sub_path = reader.text("mountPath"), reader.text("subPath", "")
    if not mount_path.startswith("/") or ".." in PurePosixPath(mount_path).parts:
        raise reader.wrong("mountPath", "an absolute path")
    if sub_path.startswith("/") or ".." in PurePosixPath(sub_path).parts:
        raise reader.wrong("subPath", "a relative path that stays within the volume")
    return VolumeMount(reader.text("name"), mount_path, sub_path, reader.flag("readOnly"))


def _volume(reader: Reader) -> Volume:
    name = reader.text("name")
    if not _DNS_LABEL.fullmatch(name):
        raise reader.wrong("name", "lower-case letters, digits and dashes")
    if "persistentVolumeClaim" in reader:
        return ClaimVolume(name, reader.child("persistentVolumeClaim").text("claimName"))
    if "emptyDir" in reader:
        return EmptyDirVolume(name)
    if "hostPath" in reader:
        host_path = reader.child("hostPath")
        if host_path.text("type", "") not in HOST_PATH_TYPES:
            raise host_path.wrong("type", "Directory, DirectoryOrCreate or none")
        return HostPathVolume(name, host_path.text("path"), host_path.text("type", ""))
    if "configMap" in reader:
        source = reader.child("configMap")
        items = tuple((item.text("key"), item.text("path")) for item in source.children("items"))
        return ConfigMapVolume(name, source.text("name"), items, source.flag("optional"))
    raise ManifestError(
        f"{reader.where} is of a type that the twin has not;"
        " expected persistentVolumeClaim, emptyDir, hostPath or configMap"
    )


def _probe(container: Reader, key: str) -> Probe | None:
    if key not in container:
        return None
    reader = container.child(key)
    action: HttpGet | ExecAction
    if "httpGet" in reader:
        get = reader.child("httpGet")
        action = HttpGet(get.port("port"), get.text("path", "/"))
    elif "exec" in reader:
        action = ExecAction(reader.child("exec").texts("command"))
    else:
        raise container.wrong(key, "httpGet or exec, which is what the twin has")
    return Probe(
        action=action,
        initial_delay_s=reader.whole_number("initialDelaySeconds", 0),
        period_s=reader.whole_number("periodSeconds", 10, least=1),
        timeout_s=reader.whole_number("timeoutSeconds", 1, least=1),
        failure_threshold=reader.whole_number("failureThreshold", 3, least=1),
    )
