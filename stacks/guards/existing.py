"""What a cluster has that this stack did not make: it is used or kept out of the way, and never fought.

That is a cluster that exists, or the one of another stack, which guests share.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

import pulumi
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor

from stacks.configuration.scenario import parts_of
from stacks.configuration.settings import EKS, Settings
from stacks.errors import ConfigError
from stacks.guards.deployed import Deployed, Volume
from stacks.guards.place import CURRENT, Place, Tree, objects_of, place_of

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

    place: Place = CURRENT
    """Where it was found."""
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
    """Return what the cluster has that a stack did not make; None where no cluster answers."""
    # A dry run has no cluster, whatever the machine's kubeconfig says.
    if isinstance(get_monitor(), MockMonitor):
        return None
    place = place_of(settings)
    if place is None:
        return None
    command = shutil.which("kubectl")
    if command is None:
        pulumi.log.info("kubectl is not on PATH: what the cluster has is not looked at")
        return None
    try:
        objects = place.objects(command, KINDS)
    except LookupError as error:
        place.refuse_unknown_context(command)
        pulumi.log.warn(f"what the cluster has could not be looked at: {error}")
        return None
    return replace(found_in(objects), place=place)


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
        _refuse_namespace(space, found, deployed)
    if settings.workloads.enabled:
        if deployed.volume is None:
            _refuse_class(settings, found)
        else:
            _refuse_growth(settings, found, deployed.volume)
    if not settings.workloads.enabled and settings.monitoring.enabled and not found.operator_kinds:
        raise ConfigError(
            f"drcio:monitoring.enabled is true, and {found.place.name} has no "
            f"Prometheus operator ({MONITORS_CRD} is not defined); the controller alone brings none",
            hint="pulumi config set --path 'drcio:monitoring.enabled' false, or install the operator first",
        )
    # A shared platform's images are its own stack's, which has built and pushed them.
    if _not_pushed(settings) and not settings.platform_stack:
        _refuse_far_nodes(settings, found)


def _refuse_namespace(space: str, found: Found, deployed: Deployed) -> None:
    """Refuse a namespace that is somebody else's, is going, or is gone although the stack made it."""
    where, kubectl = found.place.name, found.place.kubectl
    if space in found.ending:
        raise ConfigError(
            f"namespace {space} of {where} is being deleted; expected it to be gone",
            hint=f"{kubectl} wait --for=delete namespace/{space}, and if that lasts, "
            f"{kubectl} describe namespace {space} says what it waits for; then pulumi refresh and pulumi up"
            f"{found.place.way_in}",
        )
    made = f"namespace-{space}" in deployed.names
    if space in found.namespaces and not made:
        raise ConfigError(
            f"{where} has a namespace {space} that is not this stack's; expected one of its own",
            hint="pulumi config set drcio:namespace NAME; or, where an update of this stack that was killed "
            f"has left it: {kubectl} delete namespace {space}{found.place.way_in}",
        )
    if made and space not in found.namespaces:
        raise ConfigError(
            f"{where} has no namespace {space}, which this stack has made; expected it to be there",
            hint="pulumi refresh, then pulumi up makes anew what is gone",
        )


def _refuse_class(settings: Settings, found: Found) -> None:
    """Refuse a claim that nobody would ever bind."""
    wanted = settings.storage.class_name
    if settings.own_class is not None:
        return
    if wanted in found.volume_classes or (wanted in found.classes if wanted else found.default_class):
        return
    raise ConfigError(
        f"drcio:storage.className is {wanted or 'empty'}, and {found.place.name} has "
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
        hint=f"set it back to {volume.size_gib:g}; or, where the class's driver can: {found.place.kubectl} "
        f"patch storageclass {name} -p '{{\"allowVolumeExpansion\": true}}'{found.place.way_in}",
    )


def _refuse_far_nodes(settings: Settings, found: Found) -> None:
    """Refuse nodes that cannot have an image which is not pushed."""
    for node in found.nodes:
        missing = [
            name for name in settings.images.built if not any(f"drcio/{name}:" in it for it in node.images)
        ]
        if missing and not node.local:
            raise ConfigError(
                f"drcio:images.push is false, and node {node.name} of {found.place.name} has no "
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
        for container in objects_of(_at(item, "spec", "template", "spec", "containers")):
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
            for entry in objects_of(_at(item, "status", "images"))
            for image in cast(Sequence[object], entry.get("names") or ())
        ),
    )


def _at(tree: object, *names: str) -> object:
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree
