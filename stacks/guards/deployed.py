"""What the stack consists of now, as its own state has it.

A program only says what is wanted. What a running stack can become depends on what it is, and the state is
where that is known: before anything is touched, in a preview as well, and after an update that failed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

import pulumi

_QUANTITY: Final = re.compile(r"(\d+)(Ki|Mi|Gi|Ti)?\Z")
_GIB: Final = {None: 1 / 2**30, "Ki": 1 / 2**20, "Mi": 1 / 2**10, "Gi": 1.0, "Ti": 2.0**10}

_CLUSTER: Final = "aws:eks/cluster:Cluster"
_NODE_GROUP: Final = "aws:eks/nodeGroup:NodeGroup"
_PROVIDER: Final = "pulumi:providers:kubernetes"

_HALF_WRITTEN: Final = "failed to load checkpoint"
_ATTEMPTS: Final = 10
_PAUSE_S: Final = 0.3

Tree = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Volume:
    """The claim that the workloads share."""

    namespace: str
    class_name: str | None
    """As the program named it; None left it to the cluster."""
    live_class: str | None
    """As the cluster has it."""
    size_gib: float
    """What the cluster has taken: a growth that it refused is not it."""
    iops: int | None
    """Of the StorageClass that this stack made; None where it made none."""
    throughput_mib_s: int | None


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A stack's present state, in so far as it limits what it can become; empty before the first up."""

    platform: str | None = None
    """`eks`, `shared` or `existing`; None while there is none."""
    region: str | None = None
    cluster_name: str | None = None
    cluster_version: str | None = None
    vpc_cidr: str | None = None
    platform_stack: str | None = None
    context: str | None = None
    """Of the kubeconfig, where the provider was given one."""
    volume: Volume | None = None
    addons: Mapping[str, str] = field(default_factory=dict)
    """Name to version."""
    monitoring_gib: float | None = None
    """Of Prometheus' volume."""
    monitoring_class: str | None = None
    names: frozenset[str] = frozenset()
    """Logical names of all resources."""


def read_deployed(stack: str) -> Deployed:
    """Ask the engine for the running stack's own state."""
    value = _ask("pulumi:pulumi:readStackResourceOutputs", {"stackName": _full_name(stack)})
    return deployed_of(cast(Mapping[str, Tree], _tree(value.get("outputs"))))


def platform_is_watched(platform_stack: str) -> bool:
    """Ask the engine whether another stack has the monitoring chart, to whose Grafana its outputs lead."""
    outputs = _outputs_of(platform_stack)
    return outputs is None or "grafanaCommand" in outputs


def platform_kubeconfig(platform_stack: str) -> str | None:
    """Ask the engine how another stack's cluster is reached; None where that stack has no such output."""
    return _text(_outputs_of(platform_stack) or {}, "kubeconfig")


def _outputs_of(stack: str) -> Tree | None:
    value = _ask("pulumi:pulumi:readStackOutputs", {"name": stack})
    return _tree(value["outputs"]) if "outputs" in value else None


def _ask(function: str, arguments: Mapping[str, str]) -> Tree:
    """Call one of the engine's own functions on a state.

    A state in files is written while it is read: the engine writes the stack's own as an update begins. A
    reader who comes in between finds a file that ends too early, and a moment later the whole one.
    """
    attempts = _ATTEMPTS
    while True:
        try:
            answer = pulumi.runtime.invoke(function, arguments)
        except Exception as error:
            attempts -= 1
            if _HALF_WRITTEN not in str(error) or not attempts:
                raise
            time.sleep(_PAUSE_S)
        else:
            return _tree(answer.value) if hasattr(answer, "value") else _tree(answer)


def _full_name(stack: str) -> str:
    """Return the stack's name with its organization, where the backend has any."""
    organization = pulumi.get_organization()
    if organization in ("", "organization"):
        return stack
    return f"{organization}/{pulumi.get_project()}/{stack}"


def deployed_of(resources: Mapping[str, Tree]) -> Deployed:
    """Return what matters of a state's resources, by URN with type and outputs; pure."""
    state = _State(resources)
    cluster, vpc, release = (
        state.first(kind) for kind in (_CLUSTER, "aws:ec2/vpc:Vpc", "kubernetes:helm.sh/v3:Release")
    )
    claim_gib, claim_class = _monitoring_claim(release)
    zone = _text(state.first("aws:ec2/subnet:Subnet"), "availabilityZone")
    return Deployed(
        platform=state.platform(),
        region=zone[:-1] if zone else None,
        cluster_name=_text(cluster, "name"),
        cluster_version=_text(cluster, "version"),
        vpc_cidr=_text(vpc, "cidrBlock"),
        platform_stack=state.platform_stack(),
        context=_text(state.named("kubernetes", _PROVIDER), "context"),
        volume=_volume(state),
        addons={
            str(addon["addonName"]): str(addon["addonVersion"])
            for addon in state.all("aws:eks/addon:Addon")
            if "addonName" in addon and "addonVersion" in addon
        },
        monitoring_gib=claim_gib,
        monitoring_class=claim_class,
        names=frozenset(urn.rpartition("::")[2] for urn in resources),
    )


class _State:
    """A state's resources, to look up."""

    def __init__(self, resources: Mapping[str, Tree]) -> None:
        self._resources = resources

    def all(self, kind: str) -> Iterator[Tree]:
        for urn in sorted(self._resources):
            if self._resources[urn].get("type") == kind:
                yield _tree(self._resources[urn].get("outputs"))

    def first(self, kind: str) -> Tree:
        return next(self.all(kind), {})

    def named(self, name: str, kind: str) -> Tree:
        for urn, resource in self._resources.items():
            if resource.get("type") == kind and urn.rpartition("::")[2] == name:
                return _tree(resource.get("outputs"))
        return {}

    def platform(self) -> str | None:
        kinds = {resource.get("type") for resource in self._resources.values()}
        if _CLUSTER in kinds or "aws:ec2/vpc:Vpc" in kinds:
            return "eks"
        if _NODE_GROUP in kinds:
            return "shared"
        return "existing" if _PROVIDER in kinds else None

    def platform_stack(self) -> str | None:
        urns = (
            urn for urn, it in self._resources.items() if it.get("type") == "pulumi:pulumi:StackReference"
        )
        return next((urn.rpartition("::")[2] for urn in urns), None)


def _volume(state: _State) -> Volume | None:
    claim = state.named("storage-claim", "kubernetes:core/v1:PersistentVolumeClaim")
    if not claim:
        return None
    # What the program asked for: the API server fills in a default class, which is nobody's wish.
    asked = _tree(claim.get("__inputs")) or claim
    spec = _tree(asked.get("spec"))
    parameters = _tree(
        state.named("storage-class", "kubernetes:storage.k8s.io/v1:StorageClass").get("parameters")
    )
    live = _tree(claim.get("spec"))
    requests = _tree(_tree((live or spec).get("resources")).get("requests"))
    return Volume(
        namespace=str(_tree(asked.get("metadata")).get("namespace", "")),
        class_name=_text(spec, "storageClassName"),
        live_class=_text(live, "storageClassName"),
        size_gib=_gib(requests.get("storage")),
        iops=_whole(parameters.get("iops")),
        throughput_mib_s=_whole(parameters.get("throughput")),
    )


def _monitoring_claim(release: Tree) -> tuple[float | None, str | None]:
    tree = release
    for name in ("values", "prometheus", "prometheusSpec", "storageSpec", "volumeClaimTemplate", "spec"):
        tree = _tree(tree.get(name))
    if not tree:
        return None, None
    requests = _tree(_tree(tree.get("resources")).get("requests"))
    return _gib(requests.get("storage")), _text(tree, "storageClassName")


def _tree(value: object) -> Tree:
    return cast(Tree, value) if isinstance(value, Mapping) else {}


def _text(tree: Tree, name: str) -> str | None:
    value = tree.get(name)
    return value if isinstance(value, str) and value else None


def _whole(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isdecimal() else None


def _gib(value: object) -> float:
    found = _QUANTITY.match(str(value))
    return int(found[1]) * _GIB[found[2]] if found else 0.0
