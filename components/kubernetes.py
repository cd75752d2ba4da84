"""What the Kubernetes components have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar, cast

import pulumi
import pulumi_kubernetes as k8s

from components.node_labels import STACK_LABEL

SKIP_AWAIT: Final = {"pulumi.com/skipAwait": "true"}
"""For what is not done, bound or ready until something later happens."""

ONCE_STARTED: Final = {"pulumi.com/waitFor": "jsonpath={.status.startTime}"}
"""For a Job that must run while other things happen: made once it has started, and gone once its pods
are; `skipAwait` would not wait for the deletion either (pulumi-kubernetes, metadata/overrides.go). A refresh
does not look at it: it says of a running Job that it failed to initialize, and the next update applies it as
it is."""

ONCE_ENDED: Final = {
    "pulumi.com/waitFor": "jsonpath={.status.conditions[0].type}",
    "pulumi.com/replaceUnready": "true",
}
"""For a Job whose end is waited for, and whose failure is a result and does not fail the update: a Job has no
condition before it ends (nor is ours suspended). The next update replaces one that failed."""

ONCE_ADDRESSED: Final = {"pulumi.com/waitFor": "jsonpath={.spec.clusterIP}"}
"""For a Service whose pods somebody else waits for: by default the provider waits for them as well, up to ten
minutes, and ten seconds more (pulumi-kubernetes, await/service.go)."""

BY_FORCE: Final = {"pulumi.com/patchForce": "true"}
"""For all of our objects: fields that another manager has written become ours again."""

VOLUME_LABEL: Final = "drcio.io/volume"
"""Pods with the same value share a ReadWriteOnce volume, hence a node."""

Tree = Mapping[str, object]
T = TypeVar("T")


def as_args(kind: type[T], manifest: Tree) -> T:
    """Pass a manifest in Kubernetes' own spelling where the SDK expects an argument class.

    The SDK takes a mapping in place of every argument class and leaves camelCase keys as they are; only
    its type annotations know nothing of that.
    """
    return cast(T, manifest)


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Which cluster, what must stand there before anything of ours does, and what ours is a part of."""

    provider: k8s.Provider | None
    """None: whichever the parent has."""
    after: tuple[pulumi.Resource, ...] = ()
    """Passed on to every child: Pulumi does not hand a component's own `depends_on` down to them."""
    parent: pulumi.Resource | None = None
    """Of a component that is made there; None is the stack itself."""

    @property
    def options(self) -> pulumi.ResourceOptions:
        """Return the options of a component that is made there."""
        return pulumi.ResourceOptions(parent=self.parent)

    def then(self, *resources: pulumi.Resource) -> Destination:
        """Return the same cluster, later."""
        return replace(self, after=(*self.after, *resources))

    def within(self, parent: pulumi.Resource) -> Destination:
        """Return the same cluster, for parts of a component."""
        return replace(self, parent=parent)


def cluster_provider(
    name: str,
    *,
    kubeconfig: pulumi.Input[str] | None = None,
    context: str | None = None,
    opts: pulumi.ResourceOptions | None = None,
) -> k8s.Provider:
    """Return the provider by which a stack's objects are made.

    What an update that was killed has made and not noted is taken over by the next one; without the option
    the provider refuses for ever what exists already (pulumi-kubernetes, pull request 4278). That nothing of
    somebody else's is taken over is seen to before: a stack's namespaces are its own
    (`stacks.guards.existing`), and the names of what is in none of them end in the namespace's.
    """
    return k8s.Provider(
        name,
        kubeconfig=kubeconfig,
        context=context,
        # A ConfigMap then changes in place, and the controller sees it without a restart.
        enable_config_map_mutable=True,
        upsert_existing_objects=True,
        opts=opts,
    )


def in_cluster(
    parent: pulumi.Resource | None,
    where: Destination,
    *after: pulumi.Resource,
    replace_first: bool = False,
    timeout: str | None = None,
) -> pulumi.ResourceOptions:
    """Return a child's options.

    `replace_first` deletes before creating: for objects with a fixed name whose replacement would
    otherwise collide with themselves. `timeout` is how long Pulumi waits for it to become ready.
    """
    return pulumi.ResourceOptions(
        parent=parent,
        provider=where.provider,
        depends_on=[*where.after, *after],
        delete_before_replace=True if replace_first else None,
        custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout) if timeout else None,
        transformations=[_ours_by_force],
    )


def _ours_by_force(
    args: pulumi.ResourceTransformationArgs,
) -> pulumi.ResourceTransformationResult | None:
    """Let an update put back what somebody changed by hand, or an update that was killed has left.

    Server-side apply refuses fields that another manager has written since, and every run of the provider
    is another manager. All of these objects are ours, and what the program says of them holds.
    """
    metadata = args.props.get("metadata")
    if not isinstance(metadata, k8s.meta.v1.ObjectMetaArgs | k8s.meta.v1.ObjectMetaPatchArgs):
        return None
    annotations = cast(Mapping[str, pulumi.Input[str]], metadata.annotations or {})
    metadata.annotations = {**annotations, **BY_FORCE}
    return pulumi.ResourceTransformationResult(props=args.props, opts=args.opts)


def with_image(template: Tree, image: pulumi.Input[str]) -> Tree:
    """Return a pod template all of whose containers run an image that may be an output."""
    spec = cast(Tree, template["spec"])
    containers = {
        kind: [{**container, "image": image} for container in cast(Sequence[Tree], spec[kind])]
        for kind in ("initContainers", "containers")
        if kind in spec
    }
    return {**template, "spec": {**spec, **containers}}


def on_stack_node(template: Tree, stack: str | None) -> Tree:
    """Return a pod template bound to its stack's own nodes; None leaves the choice to the scheduler."""
    if stack is None:
        return template
    spec = cast(Tree, template["spec"])
    mine: Tree = {"key": STACK_LABEL, "operator": "Equal", "value": stack, "effect": "NoSchedule"}
    selector = {**cast(Mapping[str, str], spec.get("nodeSelector", {})), STACK_LABEL: stack}
    tolerations = [*cast(Sequence[Tree], spec.get("tolerations", ())), mine]
    return {**template, "spec": {**spec, "nodeSelector": selector, "tolerations": tolerations}}


def sharing_volume(template: Tree, claim: str, *, leads: bool = False) -> Tree:
    """Return a pod template that lands on the node where the claim's other users are.

    The scheduler does not co-locate the users of a ReadWriteOnce claim by itself: the second one would
    wait for ever on another node. One workload `leads`: it goes to the others if their node takes it, else
    where it likes, and they must follow. If all of them had to follow, a node that is drained would hold
    its pods' successors for minutes: they may not stay, may not go before the last one has gone, and the
    scheduler does not notice that it has (kubernetes/kubernetes issue 141354).
    """
    metadata, spec = cast(Tree, template["metadata"]), cast(Tree, template["spec"])
    labels = {**cast(Mapping[str, str], metadata["labels"]), VOLUME_LABEL: claim}
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {VOLUME_LABEL: claim}}}
    rule = (
        # More than all that the scheduler's other scores can say for another node.
        {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}
        if leads
        else {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    )
    affinity = {"podAffinity": rule}
    return {**template, "metadata": {**metadata, "labels": labels}, "spec": {**spec, "affinity": affinity}}


EVERY_TCP_PORT: Final[Tree] = {"port": 1, "endPort": 65535, "protocol": "TCP"}


def serves_only(port: int) -> dict[str, Sequence[Tree]]:
    """Return what comes in and goes out: one port, nothing; what these pods need is in their images."""
    return {"ingress": [{"ports": [{"port": port, "protocol": "TCP"}]}], "egress": []}


def metadata_of(
    app: str,
    namespace: str,
    *,
    name: pulumi.Input[str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> k8s.meta.v1.ObjectMetaArgs:
    """Return the metadata of an app's object, which by default is called as the app is."""
    return k8s.meta.v1.ObjectMetaArgs(
        name=app if name is None else name, namespace=namespace, labels={"app": app}, annotations=annotations
    )


def network_policy(
    parent: pulumi.Resource,
    name: str,
    app: str,
    namespace: str,
    where: Destination,
    *,
    ingress: Sequence[Tree],
    egress: Sequence[Tree],
) -> None:
    """Declare what may come in to an app's pods and what may go out; nothing else may."""
    spec: Tree = {
        "podSelector": {"matchLabels": {"app": app}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }
    k8s.networking.v1.NetworkPolicy(
        f"{name}-network",
        metadata=metadata_of(app, namespace),
        spec=as_args(k8s.networking.v1.NetworkPolicySpecArgs, spec),
        opts=in_cluster(parent, where),
    )
