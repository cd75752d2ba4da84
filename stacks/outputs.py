"""What `pulumi stack output` shows."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from components import monitoring
from stacks.configuration.settings import Settings
from stacks.cost import prices
from stacks.cost.estimate import UNKNOWN, Cost, estimate
from stacks.platform import Platform
from stacks.workloads import Workloads


def outputs_of(
    settings: Settings,
    platform: Platform,
    images: Mapping[str, pulumi.Input[str]],
    workloads: Workloads,
) -> dict[str, pulumi.Input[object]]:
    """Return the stack's outputs by name; secrets stay secret."""
    cost = estimate(settings)
    outputs: dict[str, pulumi.Input[object]] = {
        "scenario": settings.scenario,
        "ioWeights": dict(settings.io_weights),
        # Where the workloads are, which without the demo's is where the controller is.
        "namespace": settings.workload_namespace if settings.workloads.enabled else settings.system_namespace,
        "clusterName": platform.cluster_name,
        "images": dict(images),
        **({} if workloads.service_url is None else {"serviceUrl": workloads.service_url}),
        "estimatedMonthlyCost": {
            **_totals(cost),
            "pricesAsOf": prices.AS_OF,
            "partsUsd": {
                line.item: UNKNOWN if line.monthly_usd is None else round(line.monthly_usd, 2)
                for line in cost.lines
            },
        },
        **platform.for_sharing,
        **workloads.experiment,
    }
    if settings.platform == "eks":
        outputs["region"] = settings.region
        outputs["kubeconfigCommand"] = pulumi.Output.concat(
            "aws eks update-kubeconfig --region ", settings.region, " --name ", platform.cluster_name
        )
    if platform.kubeconfig is not None:
        outputs["kubeconfig"] = platform.kubeconfig
    if workloads.charted:
        space = monitoring.NAMESPACE
        outputs["grafanaCommand"] = (
            f"kubectl -n {space} port-forward svc/{monitoring.GRAFANA_SERVICE} 3000:{monitoring.GRAFANA_PORT}"
        )
        outputs["prometheusCommand"] = (
            f"kubectl -n {space} port-forward svc/{monitoring.PROMETHEUS_SERVICE} "
            f"9090:{monitoring.PROMETHEUS_PORT}"
        )
    if workloads.grafana_password is not None:
        outputs["grafanaPassword"] = workloads.grafana_password
    return outputs


def _totals(cost: Cost) -> dict[str, float | str]:
    """Return what the parts come to; the price of one part unknown, so is the sum."""
    sums = {
        "totalUsd": round(cost.monthly_usd, 2),
        "hourlyUsd": round(cost.hourly_usd, 4),
        "oneExperimentUsd": round(cost.experiment_usd, 2),
    }
    return dict.fromkeys(sums, UNKNOWN) if cost.unpriced else {**sums}
