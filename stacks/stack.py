"""One stack, from its settings to its outputs."""

from __future__ import annotations

import pulumi

from components import monitoring
from components.sharing import PlatformMark
from stacks.configuration.scenario import parts_of
from stacks.configuration.settings import Settings
from stacks.cost import prices
from stacks.cost.estimate import estimate
from stacks.guards.account import refuse_taken_or_missing
from stacks.guards.changes import refuse_impossible
from stacks.guards.deployed import Deployed, platform_is_watched, read_deployed
from stacks.guards.existing import Found, look, refuse_hopeless
from stacks.guards.warnings import warnings_of
from stacks.images import resolve_images
from stacks.outputs import outputs_of
from stacks.platform import build_platform
from stacks.workloads import Chart, build_workloads


def build(settings: Settings) -> dict[str, pulumi.Input[object]]:
    """Declare every resource of a stack and return its outputs.

    Raises:
        ConfigError: the settings ask for a change that a running stack cannot make.
    """
    deployed = read_deployed(settings.stack)
    refuse_impossible(settings, deployed)
    for warning in warnings_of(settings, estimate(settings).unpriced):
        pulumi.log.warn(warning)
    refuse_taken_or_missing(settings, deployed, prices.unknown(settings.cluster.instance_types))
    found = look(settings)
    refuse_hopeless(settings, found, deployed)
    made: list[pulumi.Resource] = []
    pulumi.runtime.register_stack_transformation(lambda args: made.append(args.resource))
    parts = parts_of(settings)
    platform = build_platform(settings, deployed)
    images = resolve_images(settings, parts, platform.shared_images)
    workloads = build_workloads(settings, parts, platform, images, chart_for(settings, found, deployed))
    if platform.owned:
        PlatformMark("platform-mark", settings.workload_namespace, platform.where, tuple(made))
    return outputs_of(settings, platform, images, workloads)


def chart_for(settings: Settings, found: Found | None, deployed: Deployed) -> Chart:
    """Return what is to be installed for monitoring: only what neither the cluster nor its owner has."""
    own = deployed.names
    if not settings.monitoring.enabled:
        return Chart(install=False, watched=False)
    if settings.platform_stack:
        watched = platform_is_watched(settings.platform_stack)
        if not watched:
            pulumi.log.info(
                f"stack {settings.platform_stack} has no monitoring: nothing watches this one either"
            )
        return Chart(install=False, watched=watched)
    if found is None:
        # Nobody to ask: as it was, or, on the first update, all of it.
        used = "monitors" in own and "monitoring-release" not in own
        namespaced = "monitoring-release" in own and "monitoring-namespace" not in own
        return Chart(install=not used, make_namespace=not namespaced)
    if found.operator is not None and "monitoring-release" not in own:
        pulumi.log.info(
            f"the cluster has a Prometheus operator, {found.operator}: it is used, no chart is installed. "
            "Its Prometheus must select monitors and rules without a label of its release"
        )
        return Chart(install=False)
    taken = monitoring.NAMESPACE in found.namespaces and "monitoring-namespace" not in own
    return Chart(install=True, make_namespace=not taken)
