"""What a cluster that exists has already, so that it is used or kept out of the way, and never fought.

Asked with `kubectl`, which has every way to log in that the user's kubeconfig may name.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import pulumi
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor

from stacks.configuration.scenario import parts_of
from stacks.configuration.settings import EKS, EXISTING, Settings
from stacks.errors import ConfigError
from stacks.guards.deployed import Deployed, Volume

OPERATOR_IMAGE: Final = "prometheus-operator"
"""Last part of its image's name, wherever the image was copied to."""
LOCAL_PROVIDERS: Final = ("kind://", "k3s://")
"""`spec.providerID` of nodes that are containers or services of somebody's own machine."""
LOCAL_LABELS: Final = ("minikube.k8s.io/name",)
LOCAL_NAMES: Final = ("docker-desktop", "colima")
KINDS: Final = (
    "namespaces",
    "deployments",
    "nodes",
    "storageclasses",
    "persistentvolumes",
    "customresourcedefinitions",
)
"""What is asked for."""
MONITORS_CRD: Final = "podmonitors.monitoring.coreos.com"
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
"""Annotation of the default StorageClass."""
_TIMEOUT_S: Final = 30

Tree = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Node:
    """One of the cluster's nodes."""

    name: str
    local: bool
    """It may have images that were never pushed: `kind load docker-image` and the like."""
    images: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the cluster has, whoever made it."""

    namespaces: frozenset[str] = frozenset()
    ending: frozenset[str] = frozenset()
    """Those of the namespaces that are being deleted."""
    operator: str | None = None
    """NAMESPACE/NAME of a Prometheus operator."""
    operator_kinds: bool = False
    """The operator's kinds are defined, so that monitors and rules are taken."""
    nodes: tuple[Node, ...] = ()
    classes: frozenset[str] = frozenset()
    """Names of the StorageClasses."""
    growing_classes: frozenset[str] = frozenset()
    """Those of them whose volumes may grow."""
    default_class: bool = False
    """One of them is the default."""
    volume_classes: frozenset[str] = frozenset()
    """Class names of volumes that were made by hand; they need no StorageClass, nor a name."""


def look(settings: Settings) -> Found | None:
    """Return what an existing cluster has; None where there is nobody to ask."""
    # A dry run has no cluster, whatever the machine's kubeconfig says.
    if settings.platform != EXISTING or isinstance(get_monitor(), MockMonitor):
        return None
    command = shutil.which("kubectl")
    if command is None or not settings.context:
        pulumi.log.info("kubectl is not on PATH or has no context: what the cluster has is not looked at")
        return None
    try:
        return found_in(_objects_of(_kubectl(command, _query(settings.context))))
    except LookupError as error:
        _refuse_unknown_context(command, settings.context)
        pulumi.log.warn(f"what the cluster has could not be looked at: {error}")
        return None


def _query(context: str) -> Sequence[str]:
    """Return the arguments that ask for all objects of the kinds that matter."""
    return (
        f"--context={context}",
        "get",
        ",".join(KINDS),
        "--all-namespaces",
        "--output=json",
        f"--request-timeout={_TIMEOUT_S}s",
    )


def _kubectl(command: str, arguments: Sequence[str]) -> str:
    """Return what kubectl prints; raises LookupError where it fails or nobody answers."""
    try:
        done = subprocess.run(
            [command, *arguments], check=False, capture_output=True, text=True, timeout=2 * _TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LookupError(str(error)) from error
    if done.returncode != 0:
        raise LookupError(done.stderr.strip())
    return done.stdout


def _objects_of(answer: str) -> Sequence[Tree]:
    return _objects(cast(Tree, json.loads(answer)).get("items"))


def _refuse_unknown_context(command: str, context: str) -> None:
    """Refuse a name that the kubeconfig does not have: a preview would go on without a cluster."""
    try:
        known = _kubectl(command, ("config", "get-contexts", "--output=name")).split()
    except LookupError:
        return
    if context not in known:
        raise ConfigError(
            f"drcio:kubeContext is {context!r}, which the kubeconfig does not have; "
            f"expected one of {', '.join(known) or 'its contexts, of which it has none'}",
            hint="pulumi config set drcio:kubeContext NAME",
        )


def found_in(objects: Sequence[Tree]) -> Found:
    """Put the cluster's objects together; pure."""
    by_kind: dict[object, list[Tree]] = {}
    for item in objects:
        by_kind.setdefault(item.get("kind"), []).append(item)
    namespaces = by_kind.get("Namespace", ())
    classes = by_kind.get("StorageClass", ())
    return Found(
        namespaces=frozenset(map(_name, namespaces)),
        ending=frozenset(_name(it) for it in namespaces if _at(it, "metadata", "deletionTimestamp")),
        operator=next(_operators(by_kind.get("Deployment", ())), None),
        operator_kinds=any(_name(it) == MONITORS_CRD for it in by_kind.get("CustomResourceDefinition", ())),
        nodes=tuple(map(_node, by_kind.get("Node", ()))),
        classes=frozenset(map(_name, classes)),
        growing_classes=frozenset(_name(it) for it in classes if it.get("allowVolumeExpansion") is True),
        default_class=any(_is_default(it) for it in classes),
        volume_classes=frozenset(
            str(_at(it, "spec", "storageClassName") or "")
            for it in by_kind.get("PersistentVolume", ())
            if _at(it, "spec", "claimRef") is None
        ),
    )


def refuse_hopeless(settings: Settings, found: Found | None, deployed: Deployed) -> None:
    """Compare what is wanted with what is there.

    Raises:
        ConfigError: it would collide with somebody else's, or could never run.
    """
    if settings.platform == EKS and not settings.platform_stack and _not_pushed(settings):
        raise ConfigError(
            "drcio:images.push is false and drcio:platform is eks; expected true: "
            "its nodes see no local engine",
            hint="pulumi config set --path 'drcio:images.push' true",
        )
    if found is None:
        return
    for space in namespaces_of(settings):
        _refuse_namespace(space, settings, found, deployed)
    if settings.workloads.enabled:
        if deployed.volume is None:
            _refuse_class(settings, found)
        else:
            _refuse_growth(settings, found, deployed.volume)
    if not settings.workloads.enabled and settings.monitoring.enabled and not found.operator_kinds:
        raise ConfigError(
            f"drcio:monitoring.enabled is true, and the cluster of context {settings.context} has no "
            f"Prometheus operator ({MONITORS_CRD} is not defined); the controller alone brings none",
            hint="pulumi config set --path 'drcio:monitoring.enabled' false, or install the operator first",
        )
    if _not_pushed(settings):
        _refuse_far_nodes(settings, found)


def _refuse_namespace(space: str, settings: Settings, found: Found, deployed: Deployed) -> None:
    """Refuse a namespace that is somebody else's, is going, or is gone although the stack made it."""
    where = f"the cluster of context {settings.context}"
    if space in found.ending:
        raise ConfigError(
            f"namespace {space} of {where} is being deleted; expected it to be gone",
            hint=f"kubectl --context {settings.context} wait --for=delete namespace/{space}, and if that "
            f"lasts, kubectl --context {settings.context} describe namespace {space} says what it waits for; "
            "then pulumi refresh and pulumi up",
        )
    made = f"namespace-{space}" in deployed.names
    if space in found.namespaces and not made:
        raise ConfigError(
            f"{where} has a namespace {space} that is not this stack's; expected one of its own",
            hint="pulumi config set drcio:namespace NAME; or, where an update of this stack that was killed "
            f"has left it: kubectl --context {settings.context} delete namespace {space}",
        )
    if made and space not in found.namespaces:
        raise ConfigError(
            f"{where} has no namespace {space}, which this stack has made; expected it to be there",
            hint="pulumi refresh, then pulumi up makes anew what is gone",
        )


def _refuse_class(settings: Settings, found: Found) -> None:
    """Refuse a claim that nobody would ever bind."""
    wanted = settings.storage.class_name
    if wanted in found.volume_classes or (wanted in found.classes if wanted else found.default_class):
        return
    raise ConfigError(
        f"drcio:storage.className is {wanted or 'empty'}, and the cluster of context {settings.context} has "
        f"{'no such StorageClass' if wanted else 'no default StorageClass'}; "
        f"expected one of {', '.join(sorted(found.classes)) or 'its StorageClasses, of which it has none'}",
        hint="pulumi config set --path 'drcio:storage.className' NAME",
    )


def _refuse_growth(settings: Settings, found: Found, volume: Volume) -> None:
    """Refuse a growth that the API server would: its refusal comes in the middle of the update."""
    name = volume.live_class
    if settings.storage.size_gib <= volume.size_gib or name not in found.classes - found.growing_classes:
        return
    raise ConfigError(
        f"drcio:storage.sizeGib is {settings.storage.size_gib} and the running stack has "
        f"{volume.size_gib:g}: StorageClass {name} does not let volumes grow",
        hint=f"set it back to {volume.size_gib:g}; or, where the class's driver can: kubectl "
        f"--context {settings.context} patch storageclass {name} -p '{{\"allowVolumeExpansion\": true}}'",
    )


def _refuse_far_nodes(settings: Settings, found: Found) -> None:
    """Refuse nodes that cannot have an image which is not pushed."""
    for node in found.nodes:
        missing = [
            name for name in settings.images.built if not any(f"drcio/{name}:" in it for it in node.images)
        ]
        if missing and not node.local:
            raise ConfigError(
                f"drcio:images.push is false, and node {node.name} of context {settings.context} has no "
                f"image drcio/{missing[0]}; expected a local cluster (kind, minikube, k3d, Docker Desktop), "
                "or the images on its nodes",
                hint="pulumi config set --path 'drcio:images.registry' REGISTRY/PATH, and push true",
            )


def namespaces_of(settings: Settings) -> tuple[str, ...]:
    """Return the namespaces that a stack makes for its parts."""
    parts = parts_of(settings)
    return (
        *((settings.workload_namespace,) if parts.service else ()),
        *((settings.system_namespace,) if parts.controller else ()),
    )


def _not_pushed(settings: Settings) -> bool:
    return bool(settings.images.built) and not settings.images.push


def _operators(deployments: Sequence[Tree]) -> Iterator[str]:
    for item in deployments:
        for container in _objects(_at(item, "spec", "template", "spec", "containers")):
            repository = str(container.get("image", "")).partition("@")[0].rpartition("/")[2]
            if repository.partition(":")[0] == OPERATOR_IMAGE:
                yield f"{_at(item, 'metadata', 'namespace')}/{_name(item)}"


def _name(item: Tree) -> str:
    return str(_at(item, "metadata", "name"))


def _is_default(item: Tree) -> bool:
    annotations = _at(item, "metadata", "annotations")
    return isinstance(annotations, Mapping) and annotations.get(DEFAULT_CLASS) == "true"


def _node(item: Tree) -> Node:
    name = _name(item)
    labels = _at(item, "metadata", "labels")
    return Node(
        name=name,
        local=str(_at(item, "spec", "providerID")).startswith(LOCAL_PROVIDERS)
        or any(label in labels for label in LOCAL_LABELS if isinstance(labels, Mapping))
        or name in LOCAL_NAMES,
        images=tuple(
            str(image)
            for entry in _objects(_at(item, "status", "images"))
            for image in cast(Sequence[object], entry.get("names") or ())
        ),
    )


def _at(tree: object, *names: str) -> object:
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def _objects(value: object) -> Sequence[Tree]:
    return (
        [cast(Tree, item) for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
    )
