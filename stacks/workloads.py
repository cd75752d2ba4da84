"""What runs on the platform: storage, monitoring, the service, and what the scenario adds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import pulumi

from components.batch_job import BatchJob, BatchJobArgs
from components.experiment import Experiment, ExperimentArgs
from components.fraud_service import FraudService, FraudServiceArgs
from components.io_controller import IoController, IoControllerArgs
from components.kubernetes import Destination
from components.monitoring import Monitoring, MonitoringArgs
from components.monitors import Monitors, MonitorsArgs, Target
from components.namespace import namespace
from components.observability.resources import Dashboards, ExperimentRules, Rules, RulesArgs
from components.observability.rules import Group, Owner, controller_group, service_group
from components.presence import Presence, PresenceArgs
from components.storage import Storage, StorageArgs
from components.volume_guard import VolumeGuard, VolumeGuardArgs
from drcio_controller import config as controller_config
from drcio_controller import manifest as controller_manifest
from hp_service import manifest as service_manifest
from load_generator.levels import level_rps
from lp_batch import manifest as batch_manifest
from lp_batch.units import parse_size
from stacks.configuration.scenario import Parts
from stacks.configuration.settings import CONTROLLER, EXPERIMENT, HP_SERVICE, LP_BATCH, Settings
from stacks.configuration.volumes import profiles
from stacks.images import needed
from stacks.platform import Platform

CLAIM: Final = "shared-data"
CHART_REPOSITORY: Final = "https://prometheus-community.github.io/helm-charts"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What is installed for monitoring."""

    install: bool
    """Else it is off, or an operator that is there already is used."""
    make_namespace: bool = True
    """Else the namespace is there, and stays."""
    watched: bool = True
    """There is an operator, whosever: it takes monitors and rules."""


@dataclass(frozen=True, kw_only=True)
class Workloads:
    """What the outputs speak of."""

    service_url: str | None
    """None where the stack has the controller alone."""
    charted: bool
    """Prometheus and Grafana are where the chart puts them, this stack's or the platform's."""
    grafana_password: pulumi.Output[str] | None
    experiment: Mapping[str, pulumi.Output[object]]
    """The experiment's results by output name; empty where there is no experiment."""


def build_workloads(
    settings: Settings,
    parts: Parts,
    platform: Platform,
    images: Mapping[str, pulumi.Input[str]],
    chart: Chart,
) -> Workloads:
    """Put the stack's workloads onto its platform."""
    if not parts.service:
        return _controller_alone(settings, platform, images)
    space = settings.workload_namespace
    here = platform.where.then(namespace(space, "restricted", platform.where))
    claims_after = _guards(settings, platform, images, here)
    storage = _storage(settings, here.then(*claims_after))
    with_volume = here.then(storage)
    monitoring = _monitoring(settings, chart, platform.where.then(*storage.classes, *claims_after))
    service = _service(settings, platform, images, with_volume)
    measured: list[pulumi.Resource] = [service]
    targets = [Target(app=service_manifest.NAME, namespace=space, port="http")]
    monitored = here
    agents = _presence("io-controller", controller_manifest.APP_LABEL, here, space, present=parts.controller)
    batch = _presence("lp-batch", batch_manifest.APP, here, space, present=parts.batch_job)
    measured += [agents, batch]
    if parts.controller:
        system = namespace(settings.system_namespace, "privileged", platform.where)
        monitored = monitored.then(system)
        measured.append(_controller(settings, platform, images, agents, platform.where.then(system)))
        targets.append(_agents_metrics(settings))
    if parts.batch_job:
        # The service prepares its data undisturbed.
        measured.append(_batch_job(settings, platform, images, batch, with_volume.then(service)))
        targets.append(Target(app=batch_manifest.APP, namespace=space, port="metrics"))
    owner = Owner(
        namespace=space,
        system_namespace=settings.system_namespace,
        whole_cluster=platform.node_stack is None,
    )
    if monitoring is not None:
        # The definitions of monitors and rules come with the chart.
        monitored = monitored.then(monitoring.release)
    if chart.watched:
        _watch(settings, targets, owner, monitored, _rules(settings, owner, parts))
    results: Mapping[str, pulumi.Output[object]] = {}
    if parts.experiment:
        args = _experiment(settings, parts, service.url, images, platform.node_stack)
        results = Experiment("experiment", args, with_volume.then(*measured)).outputs
        if chart.watched:
            ExperimentRules("experiment-rules", owner, settings.scenario, results, monitored)
    return Workloads(
        service_url=service.url,
        charted=chart.install or (chart.watched and bool(settings.platform_stack)),
        grafana_password=monitoring.password if monitoring else None,
        experiment=results,
    )


def _controller_alone(
    settings: Settings, platform: Platform, images: Mapping[str, pulumi.Input[str]]
) -> Workloads:
    """Put the controller, its rights, monitors and dashboards beside the workloads that are there.

    No chart is installed: what watches the cluster is there already, or `monitoring.enabled` is false.
    """
    system = settings.system_namespace
    where = platform.where.then(namespace(system, "privileged", platform.where))
    agents = _presence("io-controller", controller_manifest.APP_LABEL, where, system, present=True)
    _controller(settings, platform, images, agents, where)
    if settings.monitoring.enabled:
        owner = Owner(namespace=system, system_namespace=system, whole_cluster=platform.node_stack is None)
        # No rule about a service: what those here call their metrics is not known.
        rules = [controller_group(controller_settings(settings), owner)]
        _watch(settings, [_agents_metrics(settings)], owner, where, rules)
        Dashboards("dashboards", system, where)
    return Workloads(service_url=None, charted=False, grafana_password=None, experiment={})


def _agents_metrics(settings: Settings) -> Target:
    """Return where the controller's metrics are; they say themselves which pod they are about."""
    app, space = controller_manifest.APP_LABEL, settings.system_namespace
    return Target(app=app, namespace=space, port="metrics", own_labels=True)


def _rules(settings: Settings, owner: Owner, parts: Parts) -> list[Group]:
    config = controller_settings(settings)
    controllers = [controller_group(config, owner)] if parts.controller else []
    return [service_group(config, owner), *controllers]


def _watch(
    settings: Settings,
    targets: Sequence[Target],
    owner: Owner,
    where: Destination,
    groups: Sequence[Group],
) -> None:
    """Have Prometheus scrape the targets, and alert."""
    Monitors("monitors", MonitorsArgs(targets=targets), where)
    rules = RulesArgs(owner=owner, groups=groups, runbooks=settings.monitoring.runbooks)
    Rules("rules", rules, where)


def _guards(
    settings: Settings, platform: Platform, images: Mapping[str, pulumi.Input[str]], here: Destination
) -> list[pulumi.Resource]:
    """Return what claims wait for: where the driver goes with this stack, who keeps it for the volumes."""
    if not platform.owned:
        return []
    args = VolumeGuardArgs(
        namespace=settings.workload_namespace, image=images[HP_SERVICE], stack=platform.node_stack
    )
    return [VolumeGuard("volume-guard", args, here)]


def _storage(settings: Settings, where: Destination) -> Storage:
    return Storage(
        "storage",
        StorageArgs(
            namespace=settings.workload_namespace,
            claim=CLAIM,
            size_gib=settings.storage.size_gib,
            iops=settings.storage.iops,
            throughput_mib_s=settings.storage.throughput_mib_s,
            make_class=settings.own_class,
            use_class=settings.storage.class_name,
        ),
        where,
    )


def _presence(name: str, app: str, where: Destination, space: str, *, present: bool) -> Presence:
    return Presence(f"{name}-presence", PresenceArgs(app=app, namespace=space, present=present), where)


def _service(
    settings: Settings, platform: Platform, images: Mapping[str, pulumi.Input[str]], where: Destination
) -> FraudService:
    return FraudService(
        "hp-service",
        FraudServiceArgs(
            namespace=settings.workload_namespace,
            image=images[HP_SERVICE],
            claim=CLAIM,
            replicas=settings.service.replicas,
            cpu=settings.service.cpu,
            memory=settings.service.memory,
            priority=settings.service.priority,
            suffix=settings.suffix,
            load_balancer=settings.service.load_balancer,
            stack=platform.node_stack,
        ),
        where,
    )


def _controller(
    settings: Settings,
    platform: Platform,
    images: Mapping[str, pulumi.Input[str]],
    presence: Presence,
    where: Destination,
) -> IoController:
    return IoController(
        "io-controller",
        IoControllerArgs(
            namespace=settings.system_namespace,
            image=images[CONTROLLER],
            config=controller_settings(settings),
            suffix=settings.suffix,
            stack=platform.node_stack,
            presence=presence,
        ),
        where,
    )


def _batch_job(
    settings: Settings,
    platform: Platform,
    images: Mapping[str, pulumi.Input[str]],
    presence: Presence,
    where: Destination,
) -> BatchJob:
    return BatchJob(
        "lp-batch",
        BatchJobArgs(
            namespace=settings.workload_namespace,
            image=images[LP_BATCH],
            claim=CLAIM,
            pattern=settings.batch.pattern,
            block_size=settings.batch.block_size,
            workers=settings.batch.workers,
            parallelism=settings.batch.parallelism,
            operations=settings.batch.operations,
            file_size=settings.batch.file_size,
            rate_mib_s=settings.batch.rate_mib_s,
            stack=platform.node_stack,
            presence=presence,
        ),
        where,
    )


def _experiment(
    settings: Settings,
    parts: Parts,
    service_url: str,
    images: Mapping[str, pulumi.Input[str]],
    stack: str | None,
) -> ExperimentArgs:
    experiment = settings.experiment
    controller = controller_settings(settings) if parts.controller else None
    return ExperimentArgs(
        namespace=settings.workload_namespace,
        image=images[EXPERIMENT],
        scenario=settings.scenario,
        spec=experiment_spec(settings, parts),
        run=experiment.run,
        # Only what runs in the scenario: an image that is built and unused changes no result.
        images={name: images[name] for name in needed(parts)},
        controller_config=controller_config.dump(controller) if controller else "",
        controller_digest=controller_config.digest(controller) if controller else None,
        workloads=_given_to_workloads(settings, parts),
        expected_pods={
            service_manifest.NAME: settings.service.replicas,
            **({batch_manifest.APP: settings.batch.parallelism} if parts.batch_job else {}),
            # One agent on the service's node.
            **({controller_manifest.APP_LABEL: 1} if parts.controller else {}),
        },
        suffix=settings.suffix,
        service_url=service_url,
        claim=CLAIM,
        batch_job=parts.batch_job,
        controller_namespace=settings.system_namespace if parts.controller else None,
        run_s=settings.duration_seconds + experiment.warmup_seconds,
        pods=experiment.pods,
        stack=stack,
    )


def _given_to_workloads(settings: Settings, parts: Parts) -> dict[str, object]:
    """Return what the workloads are told beyond the spec, in so far as the scenario has them."""
    batch = dataclasses.asdict(settings.batch) if parts.batch_job else None
    # How the service is exposed does not reach its pods.
    service = {k: v for k, v in dataclasses.asdict(settings.service).items() if k != "load_balancer"}
    return {"batch": batch, "service": service}


def experiment_spec(settings: Settings, parts: Parts) -> dict[str, object]:
    """Return what a stack's experiment measures, as the twin's experiments are specified (drcio.spec/1)."""
    batch, experiment = settings.batch, settings.experiment
    return {
        "schema": "drcio.spec/1",
        "target": "cluster",
        "scenarios": [
            {
                "name": settings.scenario,
                "policy": settings.controller.policy if parts.controller else "none",
                "with_lp": parts.batch_job,
            }
        ],
        "load_level": settings.load_level,
        "rate_rps": level_rps(settings.load_level),
        "duration_s": settings.duration_seconds,
        "warmup_s": experiment.warmup_seconds,
        "repeats": 1,
        "volume": {
            "type": "gp3",
            "iops": settings.storage.iops,
            "mib_s": settings.storage.throughput_mib_s,
        },
        "lp_pattern": batch.pattern,
        "lp_block_bytes": parse_size(batch.block_size),
        # Of all its pods together.
        "lp_workers": batch.workers * batch.parallelism,
        "seed": experiment.seed,
        "arrivals": experiment.arrivals,
    }


def controller_settings(settings: Settings) -> controller_config.Config:
    """Return the controller's configuration for a stack."""
    targets = settings.controller.targets
    policy, percent = controller_config.parse_policy(settings.controller.policy)
    return controller_config.Config(
        classes=MappingProxyType(
            {
                name: controller_config.PriorityClass(
                    weight=weight,
                    latency_target=(
                        controller_config.parse_latency_target(targets[name]) if targets.get(name) else None
                    ),
                )
                for name, weight in settings.io_weights.items()
            }
        ),
        policy=policy,
        iomax_percent=percent,
        engine=controller_config.Engine(settings.controller.engine),
        interval_s=settings.controller.interval_ms / 1000,
        floor_percent=float(settings.controller.floor_percent),
        volumes=_volume_profiles(settings),
    )


def _volume_profiles(settings: Settings) -> tuple[controller_config.VolumeProfile, ...]:
    """Name the volumes' speed as the user knows it, then where this stack decides it."""
    told = [profile for text in settings.controller.volumes for profile in profiles(text)]
    if settings.own_class is not None:
        storage = settings.storage
        own = controller_config.VolumeProfile(
            iops=storage.iops, mib_s=float(storage.throughput_mib_s), serial="vol*"
        )
        told.append(own)
    return tuple(told)


def _monitoring(settings: Settings, chart: Chart, where: Destination) -> Monitoring | None:
    """Deploy the chart, unless it is off or somebody else has it already."""
    if not chart.install:
        return None
    return Monitoring(
        "monitoring",
        MonitoringArgs(
            chart_repository=CHART_REPOSITORY,
            chart_version=settings.monitoring.chart_version,
            retention_days=settings.monitoring.retention_days,
            storage_gib=settings.monitoring.storage_gib,
            storage_class=settings.volume_class or "",
            make_namespace=chart.make_namespace,
            scaled_to_zero=settings.monitoring.scaled_to_zero,
            load_balancer=settings.monitoring.load_balancer,
        ),
        where,
    )
