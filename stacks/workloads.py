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
from components.monitors import Monitors, Target
from components.namespace import namespace
from components.observability.resources import Dashboards, ExperimentRules, Rules
from components.observability.rules import Group, Owner, controller_group, service_group
from components.presence import Presence
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
    builder = _Builder(settings=settings, parts=parts, platform=platform, images=images, chart=chart)
    return builder.demo() if parts.service else builder.controller_alone()


@dataclass(frozen=True, kw_only=True)
class _Builder:
    """What every part is made from, and the parts."""

    settings: Settings
    parts: Parts
    platform: Platform
    images: Mapping[str, pulumi.Input[str]]
    chart: Chart

    def demo(self) -> Workloads:
        """Put the service, and what the scenario adds, onto the platform."""
        settings, parts, chart = self.settings, self.parts, self.chart
        space = settings.workload_namespace
        here = self.platform.where.then(namespace(space, "restricted", self.platform.where))
        claims_after = self._guards(here)
        storage = self._storage(here.then(*claims_after))
        with_volume = here.then(storage)
        monitoring = self._monitoring(self.platform.where.then(*storage.classes, *claims_after))
        service = self._service(with_volume)
        measured: list[pulumi.Resource] = [service]
        targets = [Target(app=service_manifest.NAME, namespace=space, port="http")]
        monitored = here
        agents = Presence(
            "io-controller", controller_manifest.APP_LABEL, space, here, present=parts.controller
        )
        batch = Presence("lp-batch", batch_manifest.APP, space, here, present=parts.batch_job)
        measured += [agents, batch]
        if parts.controller:
            system = namespace(settings.system_namespace, "privileged", self.platform.where)
            monitored = monitored.then(system)
            measured.append(self._controller(agents, self.platform.where.then(system)))
            targets.append(self._agents_metrics())
        if parts.batch_job:
            # The service prepares its data undisturbed.
            measured.append(self._batch_job(batch, with_volume.then(service)))
            targets.append(Target(app=batch_manifest.APP, namespace=space, port="metrics"))
        owner = self._owner(space)
        if monitoring is not None:
            # The definitions of monitors and rules come with the chart.
            monitored = monitored.then(monitoring.release)
        if chart.watched:
            config = controller_settings(settings)
            controllers = [controller_group(config, owner)] if parts.controller else []
            self._watch(targets, owner, monitored, [service_group(config, owner), *controllers])
        results: Mapping[str, pulumi.Output[object]] = {}
        if parts.experiment:
            args = self._experiment(service.url)
            results = Experiment("experiment", args, with_volume.then(*measured)).outputs
            if chart.watched:
                ExperimentRules("experiment-rules", owner, settings.scenario, results, monitored)
        return Workloads(
            service_url=service.url,
            charted=chart.install or (chart.watched and bool(settings.platform_stack)),
            grafana_password=monitoring.password if monitoring else None,
            experiment=results,
        )

    def controller_alone(self) -> Workloads:
        """Put the controller, its rights, monitors and dashboards beside the workloads that are there.

        No chart is installed: what watches the cluster is there already, or `monitoring.enabled` is false.
        """
        system = self.settings.system_namespace
        where = self.platform.where.then(namespace(system, "privileged", self.platform.where))
        agents = Presence("io-controller", controller_manifest.APP_LABEL, system, where, present=True)
        self._controller(agents, where)
        if self.settings.monitoring.enabled:
            owner = self._owner(system)
            # No rule about a service: what those here call their metrics is not known.
            rules = [controller_group(controller_settings(self.settings), owner)]
            self._watch([self._agents_metrics()], owner, where, rules)
            Dashboards("dashboards", system, where)
        return Workloads(service_url=None, charted=False, grafana_password=None, experiment={})

    def _owner(self, space: str) -> Owner:
        return Owner(
            namespace=space,
            system_namespace=self.settings.system_namespace,
            whole_cluster=self.platform.node_stack is None,
        )

    def _agents_metrics(self) -> Target:
        """Return where the controller's metrics are; they say themselves which pod they are about."""
        app, space = controller_manifest.APP_LABEL, self.settings.system_namespace
        return Target(app=app, namespace=space, port="metrics", own_labels=True)

    def _watch(
        self, targets: Sequence[Target], owner: Owner, where: Destination, groups: Sequence[Group]
    ) -> None:
        """Have Prometheus scrape the targets, and alert."""
        Monitors("monitors", targets, where)
        Rules("rules", owner, groups, where, runbooks=self.settings.monitoring.runbooks)

    def _guards(self, here: Destination) -> list[pulumi.Resource]:
        """Return what claims wait for: where the driver goes with this stack, who keeps it for volumes."""
        if not self.platform.owned:
            return []
        args = VolumeGuardArgs(
            namespace=self.settings.workload_namespace,
            image=self.images[HP_SERVICE],
            stack=self.platform.node_stack,
        )
        return [VolumeGuard("volume-guard", args, here)]

    def _storage(self, where: Destination) -> Storage:
        storage = self.settings.storage
        args = StorageArgs(
            namespace=self.settings.workload_namespace,
            claim=CLAIM,
            size_gib=storage.size_gib,
            iops=storage.iops,
            throughput_mib_s=storage.throughput_mib_s,
            make_class=self.settings.own_class,
            use_class=storage.class_name,
        )
        return Storage("storage", args, where)

    def _service(self, where: Destination) -> FraudService:
        args = FraudServiceArgs(
            namespace=self.settings.workload_namespace,
            image=self.images[HP_SERVICE],
            claim=CLAIM,
            suffix=self.settings.suffix,
            stack=self.platform.node_stack,
            **dataclasses.asdict(self.settings.service),
        )
        return FraudService("hp-service", args, where)

    def _controller(self, presence: Presence, where: Destination) -> IoController:
        args = IoControllerArgs(
            namespace=self.settings.system_namespace,
            image=self.images[CONTROLLER],
            config=controller_settings(self.settings),
            suffix=self.settings.suffix,
            stack=self.platform.node_stack,
            presence=presence,
        )
        return IoController("io-controller", args, where)

    def _batch_job(self, presence: Presence, where: Destination) -> BatchJob:
        args = BatchJobArgs(
            namespace=self.settings.workload_namespace,
            image=self.images[LP_BATCH],
            claim=CLAIM,
            stack=self.platform.node_stack,
            presence=presence,
            **dataclasses.asdict(self.settings.batch),
        )
        return BatchJob("lp-batch", args, where)

    def _experiment(self, service_url: str) -> ExperimentArgs:
        settings, parts, experiment = self.settings, self.parts, self.settings.experiment
        return ExperimentArgs(
            namespace=settings.workload_namespace,
            image=self.images[EXPERIMENT],
            scenario=settings.scenario,
            spec=experiment_spec(settings, parts),
            run=experiment.run,
            # Only what runs in the scenario: an image that is built and unused changes no result.
            images={name: self.images[name] for name in needed(parts)},
            controller=controller_settings(settings) if parts.controller else None,
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
            stack=self.platform.node_stack,
        )

    def _monitoring(self, where: Destination) -> Monitoring | None:
        """Deploy the chart, unless it is off or somebody else has it already."""
        if not self.chart.install:
            return None
        monitoring = self.settings.monitoring
        args = MonitoringArgs(
            chart_repository=CHART_REPOSITORY,
            chart_version=monitoring.chart_version,
            retention_days=monitoring.retention_days,
            storage_gib=monitoring.storage_gib,
            storage_class=self.settings.volume_class or "",
            make_namespace=self.chart.make_namespace,
            scaled_to_zero=monitoring.scaled_to_zero,
            load_balancer=monitoring.load_balancer,
        )
        return Monitoring("monitoring", args, where)


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
