"""A namespace with the standard that its pods must meet."""

from __future__ import annotations

from typing import Literal

import pulumi_kubernetes as k8s

from components.kubernetes import Destination, in_cluster

PodSecurity = Literal["restricted", "privileged"]


def namespace(name: str, security: PodSecurity, where: Destination) -> k8s.core.v1.Namespace:
    """Make a namespace under a Pod Security Standard, which the API server enforces.

    Audit and warnings are of the same level, which is the lowest that holds: whoever mounts a hostPath is
    under no standard but `privileged` (Kubernetes, "Pod Security Standards", baseline).
    """
    labels = {f"pod-security.kubernetes.io/{mode}": security for mode in ("enforce", "audit", "warn")}
    return k8s.core.v1.Namespace(
        f"namespace-{name}",
        metadata=k8s.meta.v1.ObjectMetaArgs(name=name, labels=labels),
        opts=in_cluster(where.parent, where),
    )
