"""What the experiment's account may do: fill one ConfigMap, and see who else runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from components.kubernetes import Destination, in_cluster
from experiment_runner.manifest import APP

RBAC: Final = "rbac.authorization.k8s.io"


@dataclass(frozen=True, kw_only=True)
class RightsArgs:
    """Whose account, and over what."""

    namespace: str
    config_map: pulumi.Input[str]
    """The only one that it may read and patch."""
    suffix: str
    """Ends the names of cluster-wide objects, so that several stacks fit into one cluster."""


def experiment_rights(
    parent: pulumi.Resource, name: str, args: RightsArgs, where: Destination
) -> list[pulumi.Resource]:
    """Return an account that may read and patch the one ConfigMap, and list pods.

    Pods of the whole cluster, because a controller that moves this node's limits may be anybody's.
    """
    child = in_cluster(parent, where)
    here = k8s.meta.v1.ObjectMetaArgs(name=APP, namespace=args.namespace, labels={"app": APP})
    everywhere = k8s.meta.v1.ObjectMetaArgs(name=f"{APP}{args.suffix}", labels={"app": APP})
    subject = k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", name=APP, namespace=args.namespace)
    account = k8s.core.v1.ServiceAccount(
        f"{name}-account", metadata=here, automount_service_account_token=False, opts=child
    )
    filling = k8s.rbac.v1.PolicyRuleArgs(
        api_groups=[""], resources=["configmaps"], resource_names=[args.config_map], verbs=["get", "patch"]
    )
    role = k8s.rbac.v1.Role(f"{name}-role", metadata=here, rules=[filling], opts=child)
    binding = k8s.rbac.v1.RoleBinding(
        f"{name}-binding",
        metadata=here,
        role_ref=k8s.rbac.v1.RoleRefArgs(api_group=RBAC, kind="Role", name=APP),
        subjects=[subject],
        opts=in_cluster(parent, where, role),
    )
    looking = k8s.rbac.v1.ClusterRole(
        f"{name}-looking",
        metadata=everywhere,
        rules=[k8s.rbac.v1.PolicyRuleArgs(api_groups=[""], resources=["pods"], verbs=["list"])],
        opts=child,
    )
    looks = k8s.rbac.v1.ClusterRoleBinding(
        f"{name}-looks",
        metadata=everywhere,
        role_ref=k8s.rbac.v1.RoleRefArgs(api_group=RBAC, kind="ClusterRole", name=f"{APP}{args.suffix}"),
        subjects=[subject],
        opts=in_cluster(parent, where, looking),
    )
    return [account, binding, looks]
