"""Prometheus and Grafana: kube-prometheus-stack as a Helm release, a password of its own, dashboards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_kubernetes as k8s
import pulumi_random as random

from components.kubernetes import Destination, in_cluster
from components.observability.resources import DASHBOARD_LABEL, Dashboards
from drcio_controller.config import PRIORITY_LABEL

RELEASE: Final = "prometheus"
"""Fixed, because the chart derives its services' names from it."""
NAMESPACE: Final = "monitoring"
PROMETHEUS_SERVICE: Final = f"{RELEASE}-kube-prometheus-prometheus"
PROMETHEUS_PORT: Final = 9090
GRAFANA_SERVICE: Final = f"{RELEASE}-grafana"
GRAFANA_PORT: Final = 80
ADMIN_SECRET: Final = "grafana-admin"  # noqa: S105  # the name of a Secret, not its content
ADMIN_USER: Final = "admin"

Value = str | int | bool | list["Value"] | dict[str, "Value"]


@dataclass(frozen=True, kw_only=True)
class MonitoringArgs:
    """What is kept, and for how long."""

    chart_repository: str
    chart_version: str
    retention_days: int
    storage_gib: int
    storage_class: str
    """Empty is the cluster's default class."""
    make_namespace: bool
    """Else it is there, and is not ours."""
    scaled_to_zero: bool
    load_balancer: bool


def chart_values(args: MonitoringArgs) -> dict[str, Value]:
    """Return the chart's values."""
    replicas = 0 if args.scaled_to_zero else 1
    # By default the chart's Prometheus looks only at monitors that its own release made.
    sees_everything: dict[str, Value] = {
        f"{kind}SelectorNilUsesHelmValues": False
        for kind in ("serviceMonitor", "podMonitor", "rule", "probe", "scrapeConfig")
    }
    claim: dict[str, Value] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": f"{args.storage_gib}Gi"}},
    }
    if args.storage_class:
        claim["storageClassName"] = args.storage_class
    return {
        "prometheus": {
            "prometheusSpec": {
                "replicas": replicas,
                "retention": f"{args.retention_days}d",
                # Prometheus drops the oldest samples before its volume is full.
                "retentionSize": f"{args.storage_gib * 9 // 10}GiB",
                "storageSpec": {"volumeClaimTemplate": {"spec": claim}},
                **_of_claim(args),
                "resources": {"requests": {"cpu": "200m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
                **sees_everything,
            }
        },
        "alertmanager": {"alertmanagerSpec": {"replicas": replicas}},
        "grafana": {
            "replicas": replicas,
            "admin": {
                "existingSecret": ADMIN_SECRET,
                "userKey": "admin-user",
                "passwordKey": "admin-password",
            },
            "service": {"type": "LoadBalancer" if args.load_balancer else "ClusterIP"},
            "sidecar": {"dashboards": {"enabled": True, "label": DASHBOARD_LABEL, "searchNamespace": "ALL"}},
        },
        "kube-state-metrics": {
            "replicas": replicas,
            # The alert on a node without a controller counts pods that nobody scrapes by this label.
            "metricLabelsAllowlist": [f"pods=[{PRIORITY_LABEL}]"],
        },
        "nodeExporter": {"enabled": not args.scaled_to_zero},
        # EKS runs these out of reach; their alerts would fire for ever.
        "kubeEtcd": {"enabled": False},
        "kubeControllerManager": {"enabled": False},
        "kubeScheduler": {"enabled": False},
    }


def _of_claim(args: MonitoringArgs) -> dict[str, Value]:
    """Let the claim go with Prometheus where the namespace, which would take it, stays.

    Not elsewhere: the operator makes a StatefulSet anew for some changes, and the samples would go with it.
    """
    if args.make_namespace:
        return {}
    return {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"}}


class Monitoring(pulumi.ComponentResource):
    """The release, and the Secret that Grafana takes its administrator from."""

    password: pulumi.Output[str]
    release: k8s.helm.v3.Release

    def __init__(self, name: str, args: MonitoringArgs, where: Destination) -> None:
        super().__init__("drcio:monitoring:Monitoring", name, {}, where.options)
        if args.make_namespace:
            namespace = k8s.core.v1.Namespace(
                f"{name}-namespace",
                metadata=k8s.meta.v1.ObjectMetaArgs(
                    name=NAMESPACE,
                    # The node exporter reads the host's /proc and /sys.
                    labels={"pod-security.kubernetes.io/enforce": "privileged"},
                ),
                opts=in_cluster(self, where),
            )
            where = where.then(namespace)
        password = random.RandomPassword(
            f"{name}-grafana", length=24, special=False, opts=pulumi.ResourceOptions(parent=self)
        )
        secret = k8s.core.v1.Secret(
            f"{name}-grafana-admin",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=ADMIN_SECRET, namespace=NAMESPACE),
            type="Opaque",
            string_data={"admin-user": ADMIN_USER, "admin-password": password.result},
            opts=in_cluster(self, where),
        )
        # helm.v3.Release, not v4.Chart: the latter omits the hooks that make the webhook's certificate.
        self.release = k8s.helm.v3.Release(
            f"{name}-release",
            name=RELEASE,
            namespace=NAMESPACE,
            chart="kube-prometheus-stack",
            version=args.chart_version,
            repository_opts=k8s.helm.v3.RepositoryOptsArgs(repo=args.chart_repository),
            values=chart_values(args),
            timeout=900,
            opts=in_cluster(self, where, secret),
        )
        Dashboards(f"{name}-dashboards", NAMESPACE, where.within(self))
        self.password = pulumi.Output.secret(password.result)
        self.register_outputs({"password": self.password})
