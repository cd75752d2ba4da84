"""What a cluster that exists has already, so that it is used or kept out of the way, and never fought.

Asked with `kubectl`, which has every way to log in that the user's kubeconfig may name.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import pulumi
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor

from stacks.configuration.settings import EKS, EXISTING, Settings
from stacks.errors import ConfigError

OPERATOR_IMAGE: Final = "prometheus-operator"
"""Last part of its image's name, wherever the image was copied to."""
LOCAL_PROVIDERS: Final = ("kind://", "k3s://")
"""`spec.providerID` of nodes that are containers or services of somebody's own machine."""
LOCAL_LABELS: Final = ("minikube.k8s.io/name",)
LOCAL_NAMES: Final = ("docker-desktop", "colima")
_TIMEOUT_S: Final = 30

Tree = Mapping[str, object]
Ask = Callable[[str], Sequence[Tree]]
"""Returns all objects of a kind; raises LookupError where nobody answers."""


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
    operator: str | None = None
    """NAMESPACE/NAME of a Prometheus operator."""
    nodes: tuple[Node, ...] = ()


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
        return found_by(lambda kind: _kubectl(command, settings.context, kind))
    except LookupError as error:
        pulumi.log.warn(f"what the cluster has could not be looked at: {error}")
        return None


def _kubectl(command: str, context: str, kind: str) -> Sequence[Tree]:
    arguments = [command, f"--context={context}", "get", kind, "--all-namespaces", "--output=json"]
    try:
        done = subprocess.run(
            [*arguments, f"--request-timeout={_TIMEOUT_S}s"],
            check=False,
            capture_output=True,
            text=True,
            timeout=2 * _TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LookupError(str(error)) from error
    if done.returncode != 0:
        raise LookupError(done.stderr.strip())
    return _objects(cast(Tree, json.loads(done.stdout)).get("items"))


def found_by(ask: Ask) -> Found:
    """Put the answers together; pure but for `ask`."""
    return Found(
        namespaces=frozenset(str(_at(item, "metadata", "name")) for item in ask("namespaces")),
        operator=next(_operators(ask("deployments")), None),
        nodes=tuple(_node(item) for item in ask("nodes")),
    )


def refuse_hopeless(settings: Settings, found: Found | None, own: frozenset[str]) -> None:
    """Compare what is wanted with what is there; `own` are the stack's resources by name.

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
    space = settings.workload_namespace
    if space in found.namespaces and f"namespace-{space}" not in own:
        raise ConfigError(
            f"the cluster of context {settings.context} has a namespace {space} that is not this stack's; "
            "expected one of its own",
            hint="pulumi config set drcio:namespace NAME",
        )
    if not _not_pushed(settings):
        return
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


def _not_pushed(settings: Settings) -> bool:
    return bool(settings.images.built) and not settings.images.push


def _operators(deployments: Sequence[Tree]) -> Iterator[str]:
    for item in deployments:
        for container in _objects(_at(item, "spec", "template", "spec", "containers")):
            repository = str(container.get("image", "")).partition("@")[0].rpartition("/")[2]
            if repository.partition(":")[0] == OPERATOR_IMAGE:
                yield f"{_at(item, 'metadata', 'namespace')}/{_at(item, 'metadata', 'name')}"


def _node(item: Tree) -> Node:
    name = str(_at(item, "metadata", "name"))
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
