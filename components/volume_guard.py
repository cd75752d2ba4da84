"""A pod that lets the EBS driver go only when the volumes are gone.

A claim's deletion is waited for, its volume's by nobody: the driver deletes the disk a while after, unless
`pulumi destroy` has taken the driver by then, and the disk is left and paid for. The guard stands between:
made after the driver and before the claims, and so destroyed after the claims and before the driver, and its
deletion lasts as long as a volume does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from components import kubernetes as kube
from components.account import Account
from components.kubernetes import Destination, Tree
from components.volumes_gone import PATIENCE_S

APP: Final = "drcio-volume-guard"
UID: Final = 10001
GRACE_S: Final = round(PATIENCE_S) + 60
SCRIPT: Final = Path(__file__).with_name("volumes_gone.py")


@dataclass(frozen=True, kw_only=True)
class VolumeGuardArgs:
    """Where it stands."""

    namespace: str
    image: pulumi.Input[str]
    """Any that has a Python."""
    stack: str | None
    """Whose nodes to use; None leaves the choice to the scheduler."""


class VolumeGuard(pulumi.ComponentResource):
    """One idle pod, and the right to list volumes."""

    def __init__(self, name: str, args: VolumeGuardArgs, where: Destination) -> None:
        super().__init__("drcio:storage:VolumeGuard", name, {}, where.options)
        account = Account(self, name, APP, args.namespace, where)
        account.may(
            {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["list"]}, everywhere=APP
        )
        # Out to the API server, whose address no selector fixes.
        egress: list[Tree] = [{"ports": [kube.EVERY_TCP_PORT]}]
        kube.network_policy(self, name, APP, args.namespace, where, ingress=[], egress=egress)
        # A ReplicaSet, there being nothing to roll: an idle pod serves as well as a newer one.
        guard = k8s.apps.v1.ReplicaSet(
            name,
            metadata=kube.metadata_of(APP, args.namespace),
            spec=kube.as_args(
                k8s.apps.v1.ReplicaSetSpecArgs,
                {
                    "replicas": 1,
                    "selector": {"matchLabels": {"app": APP}},
                    "template": kube.on_stack_node(kube.with_image(_template(), args.image), args.stack),
                },
            ),
            opts=kube.in_cluster(self, where, *account.resources),
        )
        self.register_outputs({"guard": guard.id})


def _template() -> Tree:
    container = {
        "name": "guard",
        "command": ["python", "-c", SCRIPT.read_text()],
        "resources": {"requests": {"cpu": "5m", "memory": "24Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "metadata": {"labels": {"app": APP}},
        "spec": {
            "serviceAccountName": APP,
            "automountServiceAccountToken": True,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_S,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": UID,
                "runAsGroup": UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }
