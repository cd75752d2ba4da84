"""Dashboards and rules as objects of the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_kubernetes as k8s

from components.kubernetes import Destination, in_cluster
from components.observability.dashboards import BOARDS
from components.observability.rules import Group, Owner, as_spec, experiment_group

DASHBOARD_LABEL = "grafana_dashboard"
"""What Grafana's sidecar looks for."""


class Dashboards(pulumi.ComponentResource):
    """One ConfigMap per dashboard, which Grafana's sidecar finds by its label."""

    def __init__(self, name: str, namespace: str, where: Destination) -> None:
        super().__init__("drcio:monitoring:Dashboards", name, {}, where.options)
        for board in BOARDS:
            k8s.core.v1.ConfigMap(
                f"{name}-{board.uid}",
                metadata=k8s.meta.v1.ObjectMetaArgs(
                    name=f"dashboard-{board.uid}", namespace=namespace, labels={DASHBOARD_LABEL: "1"}
                ),
                data={f"{board.uid}.json": board.to_json()},
                opts=in_cluster(self, where),
            )
        self.register_outputs({})


class Rules(pulumi.ComponentResource):
    """One PrometheusRule per group, so that what a scenario adds changes nothing that was there."""

    def __init__(
        self, name: str, owner: Owner, groups: Sequence[Group], where: Destination, *, runbooks: str = ""
    ) -> None:
        """`runbooks` is where the alerts' pages are published; empty names them by their path here."""
        super().__init__("drcio:monitoring:Rules", name, {}, where.options)
        child = in_cluster(self, where)
        for group in groups:
            _rule(f"{name}-{group.name}", group.name, owner, as_spec([group], runbooks), child)
        self.register_outputs({})


class ExperimentRules(pulumi.ComponentResource):
    """The last experiment's verdict and figures as series, for the dashboard."""

    def __init__(
        self,
        name: str,
        owner: Owner,
        scenario: str,
        outputs: Mapping[str, pulumi.Output[object]],
        where: Destination,
    ) -> None:
        super().__init__("drcio:monitoring:ExperimentRules", name, {}, where.options)

        def spec(values: dict[str, object]) -> dict[str, object]:
            group = experiment_group(
                owner,
                scenario=scenario,
                verdict=str(values["verdict"] or "unknown"),
                p95_s=_scaled(values["p95_ms"], 1e-3),
                lp_bytes_per_s=_scaled(values["lp_mib_s"], 2**20),
            )
            return {**as_spec([group])}

        wanted = {field: outputs[field] for field in ("verdict", "p95_ms", "lp_mib_s")}
        made = pulumi.Output.all(**wanted).apply(spec)
        _rule(f"{name}-result", "drcio-experiment", owner, made, in_cluster(self, where))
        self.register_outputs({})


def _rule(
    resource: str,
    name: str,
    owner: Owner,
    spec: pulumi.Input[dict[str, object]] | object,
    opts: pulumi.ResourceOptions,
) -> None:
    k8s.apiextensions.CustomResource(
        resource,
        api_version="monitoring.coreos.com/v1",
        kind="PrometheusRule",
        metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=owner.namespace),
        spec=spec,
        opts=opts,
    )


def _scaled(value: object, factor: float) -> str:
    """Return a number as PromQL has it; a run without one is not a number."""
    return f"{value * factor:g}" if isinstance(value, int | float) else "NaN"
