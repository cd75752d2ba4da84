"""What Prometheus scrapes of this stack's workloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from components.kubernetes import Destination, Tree, in_cluster, metadata_of

SCRAPE_INTERVAL = "5s"
"""For people: the controller itself decides on local signals, faster than any scrape."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Pods to scrape."""

    app: str
    namespace: str
    port: str
    """Name of the container port."""
    own_labels: bool = False
    """Its metrics carry the namespace and the pod that they are about, which are others than its own."""


class Monitors(pulumi.ComponentResource):
    """One PodMonitor per workload."""

    def __init__(self, name: str, targets: Sequence[Target], where: Destination) -> None:
        super().__init__("drcio:monitoring:Monitors", name, {}, where.options)
        for target in targets:
            k8s.apiextensions.CustomResource(
                f"{name}-{target.app}",
                api_version="monitoring.coreos.com/v1",
                kind="PodMonitor",
                metadata=metadata_of(target.app, target.namespace),
                spec={
                    "selector": {"matchLabels": {"app": target.app}},
                    "podMetricsEndpoints": [_endpoint(target)],
                },
                opts=in_cluster(self, where),
            )
        self.register_outputs({})


def _endpoint(target: Target) -> Tree:
    return {
        "port": target.port,
        "path": "/metrics",
        "interval": SCRAPE_INTERVAL,
        "honorLabels": target.own_labels,
        "relabelings": [
            {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"},
            {"sourceLabels": ["__meta_kubernetes_pod_label_drcio_io_priority"], "targetLabel": "priority"},
        ],
    }
