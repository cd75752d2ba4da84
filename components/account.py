"""A service account, and what it may do."""

from __future__ import annotations

from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from components.kubernetes import Destination, Tree, as_args, in_cluster, metadata_of

RBAC: Final = "rbac.authorization.k8s.io"


class Account:
    """An app's service account, whose token is mounted only where a pod asks for it."""

    def __init__(
        self, parent: pulumi.Resource, name: str, app: str, namespace: str, where: Destination
    ) -> None:
        self._parent, self._name, self._app, self._where = parent, name, app, where
        self._here = metadata_of(app, namespace)
        self._subject = k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", name=app, namespace=namespace)
        account = k8s.core.v1.ServiceAccount(
            f"{name}-account",
            metadata=self._here,
            automount_service_account_token=False,
            opts=in_cluster(parent, where),
        )
        self.resources: list[pulumi.Resource] = [account]
        """The account and its bindings: what a pod that uses them waits for."""

    def may(
        self,
        *rules: Tree,
        role: str = "role",
        binding: str = "binding",
        everywhere: str | None = None,
    ) -> None:
        """Let it do what the rules allow: in its namespace, or in all, by a cluster role named `everywhere`.

        `role` and `binding` end the names of the two in the stack.
        """
        roles, bindings, kind = (
            (k8s.rbac.v1.Role, k8s.rbac.v1.RoleBinding, "Role")
            if everywhere is None
            else (k8s.rbac.v1.ClusterRole, k8s.rbac.v1.ClusterRoleBinding, "ClusterRole")
        )
        metadata = (
            self._here
            if everywhere is None
            else k8s.meta.v1.ObjectMetaArgs(name=everywhere, labels={"app": self._app})
        )
        made = roles(
            f"{self._name}-{role}",
            metadata=metadata,
            rules=[as_args(k8s.rbac.v1.PolicyRuleArgs, rule) for rule in rules],
            opts=in_cluster(self._parent, self._where),
        )
        bound = bindings(
            f"{self._name}-{binding}",
            metadata=metadata,
            role_ref=k8s.rbac.v1.RoleRefArgs(api_group=RBAC, kind=kind, name=everywhere or self._app),
            subjects=[self._subject],
            opts=in_cluster(self._parent, self._where, made),
        )
        self.resources.append(bound)
