"""Changes that a running stack cannot make: refused before anything is touched, with what to do instead.

Each is refused by AWS or Kubernetes as well, but in the middle of an update, after a wait, or not at all
and with another disk in the place of the one that held the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stacks.configuration.settings import EKS, EXISTING, Settings
from stacks.errors import ConfigError
from stacks.guards.deployed import Deployed, Volume

ANEW = "pulumi destroy, then pulumi up; or another stack beside this one (pulumi stack init NAME)"
WITHOUT_VOLUME = (
    "to give the volume and its data up and have another: "
    "pulumi destroy --target '**storage-claim' --target-dependents, then pulumi up"
)
WITHOUT_SAMPLES = (
    "to give the samples up: drcio:monitoring.enabled false and pulumi up, then true and pulumi up again"
)


@dataclass(frozen=True, kw_only=True)
class Impossible:
    """A change that cannot be made."""

    key: str
    wanted: object
    deployed: object
    why: str
    instead: str


def refuse_impossible(settings: Settings, deployed: Deployed) -> None:
    """Compare what is wanted with what is deployed.

    Raises:
        ConfigError: a running stack cannot become what is wanted.
    """
    found = next(impossible(settings, deployed), None)
    if found is not None:
        raise ConfigError(
            f"{found.key} is {_shown(found.wanted)} and the running stack has {_shown(found.deployed)}: "
            f"{found.why}",
            hint=f"set it back to {_shown(found.deployed)}; or, {found.instead}",
        )


def impossible(settings: Settings, deployed: Deployed) -> Iterator[Impossible]:
    """Yield every wanted change that cannot be made; pure."""
    yield from _of_platform(settings, deployed)
    if deployed.volume is not None and not settings.workloads.enabled:
        yield Impossible(
            key="drcio:workloads.enabled",
            wanted="false",
            deployed="true",
            why="the volume and its data would go with the workloads",
            instead=WITHOUT_VOLUME,
        )
    elif deployed.volume is not None:
        yield from _of_volume(settings, deployed.volume)
    if deployed.monitoring_gib is not None and settings.monitoring.enabled and not settings.platform_stack:
        yield from _of_monitoring(settings, deployed)


def _shown(value: object) -> str:
    return "empty" if value in (None, "") else str(value)


def _changes(why: str, instead: str, *values: tuple[str, object, object]) -> Iterator[Impossible]:
    """Yield those of some values, each with its key, what is wanted and what is deployed, that differ."""
    for key, wanted, deployed in values:
        if deployed is not None and wanted != deployed:
            yield Impossible(key=key, wanted=wanted, deployed=deployed, why=why, instead=instead)


def _of_platform(settings: Settings, deployed: Deployed) -> Iterator[Impossible]:
    if deployed.platform is None:
        return
    wanted = EXISTING if settings.platform == EXISTING else "shared" if settings.platform_stack else EKS
    moved = "the workloads and their data do not move from one cluster to another"
    if wanted == deployed.platform or "shared" not in (wanted, deployed.platform):
        platform = deployed.platform if deployed.platform != "shared" else EKS
        yield from _changes(moved, ANEW, ("drcio:platform", settings.platform, platform))
    stack = deployed.platform_stack or ""
    yield from _changes(moved, ANEW, ("drcio:platformStack", settings.platform_stack, stack))
    context = settings.context
    if wanted == EXISTING and deployed.context and context and context != deployed.context:
        yield Impossible(
            key="drcio:kubeContext" if settings.kube_context else "the kubeconfig's current context",
            wanted=context,
            deployed=deployed.context,
            why=moved,
            instead=f"to stay whatever is current: pulumi config set drcio:kubeContext {deployed.context}",
        )
    volume = deployed.volume if settings.workloads.enabled else None
    if volume is not None:
        yield from _changes(
            "a claim and its data do not move from one namespace to another",
            ANEW,
            ("drcio:namespace", settings.workload_namespace, volume.namespace),
        )
    if wanted == EKS:
        yield from _of_own_cluster(settings, deployed)


def _of_own_cluster(settings: Settings, deployed: Deployed) -> Iterator[Impossible]:
    yield from _changes(
        "it would replace the cluster with all that is in it",
        ANEW,
        ("drcio:cluster.name", settings.cluster.name, deployed.cluster_name),
        ("drcio:network.cidr", settings.network.cidr, deployed.vpc_cidr),
        ("aws:region", settings.region, deployed.region),
    )
    if deployed.cluster_version is None:
        return
    # EKS user guide, "Update existing cluster to new Kubernetes version".
    old_minor, new_minor = (
        int(text.partition(".")[2]) for text in (deployed.cluster_version, settings.cluster.version)
    )
    if not old_minor <= new_minor <= old_minor + 1:
        yield Impossible(
            key="drcio:cluster.version",
            wanted=settings.cluster.version,
            deployed=deployed.cluster_version,
            why="EKS goes up by one minor version at a time, and never back",
            instead=f"to go up: pulumi config set --path 'drcio:cluster.version' 1.{old_minor + 1}, "
            "pulumi up, and so on",
        )


def _of_volume(settings: Settings, volume: Volume) -> Iterator[Impossible]:
    storage = settings.storage
    wanted_class = settings.volume_class
    if wanted_class != volume.class_name:
        yield Impossible(
            key="drcio:storage.className",
            wanted=wanted_class,
            deployed=volume.class_name,
            why="a claim keeps its class",
            instead=WITHOUT_VOLUME,
        )
        return
    if storage.size_gib < volume.size_gib:
        yield Impossible(
            key="drcio:storage.sizeGib",
            wanted=storage.size_gib,
            deployed=f"{volume.size_gib:g}",
            why="a volume grows and does not shrink",
            instead=WITHOUT_VOLUME,
        )
    yield from _changes(
        "the speed comes from the StorageClass when the volume is made, and stays",
        WITHOUT_VOLUME,
        ("drcio:storage.iops", storage.iops, volume.iops),
        ("drcio:storage.throughputMibps", storage.throughput_mib_s, volume.throughput_mib_s),
    )


def _of_monitoring(settings: Settings, deployed: Deployed) -> Iterator[Impossible]:
    wanted_class = settings.volume_class
    for key, new, old in (
        ("drcio:monitoring.storageGib", settings.monitoring.storage_gib, deployed.monitoring_gib),
        ("drcio:storage.className", wanted_class, deployed.monitoring_class),
    ):
        if new != old:
            yield Impossible(
                key=key,
                wanted=new,
                deployed=f"{old:g}" if isinstance(old, float) else old,
                why="the operator does not change the claim of a Prometheus that runs",
                instead=WITHOUT_SAMPLES,
            )
