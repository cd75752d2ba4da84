"""The I/O controller: a DaemonSet with the rights, mounts and configuration that it needs, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import pulumi
import pulumi_kubernetes as k8s

from components import kubernetes as kube
from components.account import Account
from components.kubernetes import Destination, Tree
from components.presence import Presence
from drcio_controller import manifest
from drcio_controller.config import Config, PolicyName, dump

APP: Final = manifest.APP_LABEL
API_SERVER_PORTS: Final = (443, 6443, 8443, 16443)
"""Where API servers listen: managed ones, kubeadm and k3s, minikube, microk8s."""


@dataclass(frozen=True, kw_only=True)
class IoControllerArgs:
    """What the controller does, and where."""

    namespace: str
    """Its own: hostPath mounts are forbidden where the workloads run."""
    image: pulumi.Input[str]
    config: Config
    suffix: str
    """Ends the names of cluster-wide objects, so that several stacks fit into one cluster."""
    stack: str | None
    """Whose nodes to manage; None manages all of the cluster."""
    presence: Presence
    """What the agents go with when the scenario has none; each puts its node's knobs back as it ends."""


class IoController(pulumi.ComponentResource):
    """One agent per node; its ConfigMap changes in place and is reloaded live."""

    def __init__(self, name: str, args: IoControllerArgs, where: Destination) -> None:
        super().__init__("drcio:controller:IoController", name, {}, where.options)
        config_map = k8s.core.v1.ConfigMap(
            f"{name}-config",
            metadata=kube.metadata_of(APP, args.namespace),
            data={manifest.CONFIG_FILE: dump(args.config)},
            opts=kube.in_cluster(self, where),
        )
        account = Account(self, name, APP, args.namespace, where)
        # To read pods and write events, and nothing else.
        account.may(*manifest.RBAC_RULES, everywhere=f"{APP}{args.suffix}")
        kube.network_policy(self, name, APP, args.namespace, where, **_network())
        daemon_set = k8s.apps.v1.DaemonSet(
            name,
            metadata=kube.metadata_of(APP, args.namespace, name=args.presence.tie(APP)),
            spec=kube.as_args(
                k8s.apps.v1.DaemonSetSpecArgs,
                {
                    "selector": {"matchLabels": {"app": APP}},
                    # One node at a time: a stopping agent puts the knobs back, and its successor takes
                    # over seconds later. Never two on one node, hence no surge.
                    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
                    "minReadySeconds": 5,
                    "template": _template(args),
                },
            ),
            opts=kube.in_cluster(self, where, config_map, *account.resources),
        )
        self.register_outputs({"daemon_set": daemon_set.id})


def _template(args: IoControllerArgs) -> Tree:
    policy = args.config.policy
    pod = manifest.pod_template(image="", policy=PolicyName(policy))
    # On the pod network, because a NetworkPolicy does not hold for a pod on the host's. The account's
    # token is mounted here and nowhere else.
    spec = {
        name: value
        for name, value in cast(Tree, pod["spec"]).items()
        if name not in ("hostNetwork", "dnsPolicy")
    } | {"automountServiceAccountToken": True}
    return kube.on_stack_node(kube.with_image({**pod, "spec": spec}, args.image), args.stack)


def _network() -> dict[str, list[Tree]]:
    """Let the cluster's pods in to the metrics; out to DNS, the API server, and pods on any TCP port.

    Who scrapes is not known here, and an annotated pod's port is its own choice. The API server is no pod
    but an address of the control plane: for it there are ports alone, those of the endpoint, since most
    plugins judge a connection after the service's address has been replaced.
    """
    pods: list[Tree] = [{"namespaceSelector": {}}]
    return {
        "ingress": [{"from": pods, "ports": [{"port": manifest.PORT, "protocol": "TCP"}]}],
        "egress": [
            {"ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]},
            {"ports": [{"port": port, "protocol": "TCP"} for port in API_SERVER_PORTS]},
            {"to": pods, "ports": [kube.EVERY_TCP_PORT]},
        ],
    }
