"""What a stack costs: a pure function of its settings and the price table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from components.aws_facts import INTERFACE_SERVICES
from drcio_controller.ebs import GP3_BASE_IOPS, GP3_BASE_MIB_S
from stacks.configuration.settings import EKS, Settings
from stacks.cost import prices

UNKNOWN: Final = "unknown"
"""Stands for a price that the table does not have."""
DEPLOY_AND_DESTROY_S: Final = 40 * 60
"""Around one experiment on a cluster of its own: about 25 minutes up, 15 down."""


@dataclass(frozen=True, kw_only=True)
class CostLine:
    """One kind of resource."""

    item: str
    quantity: str
    hourly_usd: float | None
    """None where the table has no price."""

    @property
    def monthly_usd(self) -> float | None:
        return None if self.hourly_usd is None else self.hourly_usd * prices.HOURS_PER_MONTH


@dataclass(frozen=True, kw_only=True)
class Saving:
    """What one change of the configuration would save."""

    change: str
    command: str
    monthly_usd: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A stack's estimate."""

    lines: tuple[CostLine, ...]
    savings: tuple[Saving, ...]
    experiment_s: float
    """One experiment on this stack alone: deploy, run, destroy."""

    @property
    def hourly_usd(self) -> float:
        """Of what has a price; with anything in `unpriced` it is no total, but the least."""
        return sum(line.hourly_usd for line in self.lines if line.hourly_usd is not None)

    @property
    def monthly_usd(self) -> float:
        return self.hourly_usd * prices.HOURS_PER_MONTH

    @property
    def experiment_usd(self) -> float:
        return self.hourly_usd * self.experiment_s / 3600

    @property
    def unpriced(self) -> tuple[str, ...]:
        return tuple(line.item for line in self.lines if line.hourly_usd is None)


def estimate(settings: Settings) -> Cost:
    """Return a stack's cost, its parts, and what would save money."""
    lines = tuple(_lines(settings))
    run_s = settings.duration_seconds + settings.experiment.warmup_seconds
    cost = Cost(lines=lines, savings=(), experiment_s=DEPLOY_AND_DESTROY_S + run_s)
    return replace(cost, savings=tuple(_savings(settings, cost.monthly_usd)))


def _per_month(monthly_usd: float) -> float:
    return monthly_usd / prices.HOURS_PER_MONTH


def _lines(settings: Settings) -> Iterator[CostLine]:
    if settings.platform != EKS:
        return
    if not settings.platform_stack:
        yield from _cluster_lines(settings)
    yield from _node_lines(settings)
    yield from _volume_lines(settings)
    balancers = int(settings.service.load_balancer)
    if settings.monitoring.enabled and not settings.platform_stack:
        balancers += settings.monitoring.load_balancer
    if balancers:
        yield CostLine(
            item="load balancers", quantity=str(balancers), hourly_usd=balancers * prices.LOAD_BALANCER_H
        )


def _cluster_lines(settings: Settings) -> Iterator[CostLine]:
    zones = settings.network.availability_zones
    yield CostLine(item="EKS control plane", quantity="1", hourly_usd=prices.EKS_CONTROL_PLANE_H)
    gateways = {"single": 1, "per-az": zones, "none": 0}[settings.network.nat]
    if gateways:
        yield CostLine(
            item="NAT gateways and their addresses (traffic 0.045/GB extra)",
            quantity=str(gateways),
            hourly_usd=gateways * (prices.NAT_GATEWAY_H + prices.PUBLIC_IPV4_H),
        )
    if settings.network.interface_endpoints:
        count = len(INTERFACE_SERVICES) * zones
        yield CostLine(
            item="interface endpoints (one per service and zone)",
            quantity=str(count),
            hourly_usd=count * prices.INTERFACE_ENDPOINT_H,
        )
    yield CostLine(item="KMS key", quantity="1", hourly_usd=_per_month(prices.KMS_KEY_MONTH))
    yield CostLine(
        item="images in ECR",
        quantity=f"{prices.IMAGES_GIB:g} GiB",
        hourly_usd=_per_month(prices.IMAGES_GIB * prices.ECR_GIB_MONTH),
    )


def _node_lines(settings: Settings) -> Iterator[CostLine]:
    cluster = settings.cluster
    # With several types EKS chooses; the estimate takes the first, as EKS does on demand.
    instance = cluster.instance_types[0]
    price = prices.INSTANCE_H.get(instance)
    share = prices.SPOT_SHARE if cluster.spot else 1.0
    yield CostLine(
        item=f"nodes {instance}{' (spot)' if cluster.spot else ''}",
        quantity=str(cluster.nodes),
        hourly_usd=None if price is None else cluster.nodes * price * share,
    )
    yield CostLine(
        item="node disks (gp3)",
        quantity=f"{cluster.nodes} x {cluster.disk_gib} GiB",
        hourly_usd=_per_month(cluster.nodes * cluster.disk_gib * prices.GP3_GIB_MONTH),
    )
    if settings.network.nat == "none":
        yield CostLine(
            item="nodes' public addresses",
            quantity=str(cluster.nodes),
            hourly_usd=cluster.nodes * prices.PUBLIC_IPV4_H,
        )


def _volume_lines(settings: Settings) -> Iterator[CostLine]:
    storage = settings.storage
    extra_iops = max(0, storage.iops - GP3_BASE_IOPS)
    extra_mib_s = max(0, storage.throughput_mib_s - GP3_BASE_MIB_S)
    yield CostLine(
        item="shared volume (gp3)",
        quantity=f"{storage.size_gib} GiB, {storage.iops} IOPS, {storage.throughput_mib_s} MiB/s",
        hourly_usd=_per_month(_gp3_month(storage.size_gib, extra_iops, extra_mib_s)),
    )
    if settings.monitoring.enabled and not settings.platform_stack:
        size_gib = settings.monitoring.storage_gib
        # It takes its speed from the stack's StorageClass.
        yield CostLine(
            item="Prometheus volume (gp3)",
            quantity=f"{size_gib} GiB",
            hourly_usd=_per_month(_gp3_month(size_gib, extra_iops, extra_mib_s)),
        )


def _gp3_month(size_gib: int, extra_iops: int, extra_mib_s: int) -> float:
    return (
        size_gib * prices.GP3_GIB_MONTH
        + extra_iops * prices.GP3_IOPS_MONTH
        + extra_mib_s * prices.GP3_MIB_S_MONTH
    )


def _savings(settings: Settings, monthly_usd: float) -> Iterator[Saving]:
    cluster, network, monitoring = settings.cluster, settings.network, settings.monitoring
    candidates = (
        ("spot nodes", "'drcio:cluster.spot' true", replace(settings, cluster=replace(cluster, spot=True))),
        (
            "public nodes, no NAT",
            "'drcio:network.nat' none",
            replace(settings, network=replace(network, nat="none")),
        ),
        (
            "monitoring off",
            "'drcio:monitoring.enabled' false",
            replace(settings, monitoring=replace(monitoring, enabled=False)),
        ),
    )
    for change, command, changed in candidates:
        saved = monthly_usd - Cost(lines=tuple(_lines(changed)), savings=(), experiment_s=0.0).monthly_usd
        if round(saved, 2) > 0:
            yield Saving(change=change, command=f"pulumi config set --path {command}", monthly_usd=saved)


def as_table(cost: Cost, settings: Settings) -> str:
    """Return the estimate as text."""
    if not cost.lines:
        return "Nothing here is paid to AWS: the stack runs on a cluster that exists.\n"
    rows = [
        (line.item, line.quantity, _usd(line.hourly_usd, 4), _usd(line.monthly_usd, 2)) for line in cost.lines
    ]
    at_least = "at least " if cost.unpriced else ""
    rows.append(
        (
            "total, without what is unknown" if cost.unpriced else "total",
            "",
            _usd(cost.hourly_usd, 4),
            _usd(cost.monthly_usd, 2),
        )
    )
    item_width = max(len(row[0]) for row in rows)
    quantity_width = max(len(row[1]) for row in rows)
    header = ("USD, estimated", "", "per hour", "per month")
    body = [
        f"{item:<{item_width}}  {quantity:<{quantity_width}}  {hourly:>9}  {monthly:>10}"
        for item, quantity, hourly, monthly in (header, *rows)
    ]
    rule = "-" * len(body[0])
    lines = [body[0], rule, *body[1:-1], rule, body[-1], ""]
    lines.append(
        f"One experiment on a cluster of its own (deploy, run, destroy): {at_least or 'about '}"
        f"{cost.experiment_usd:.2f} USD."
    )
    for saving in cost.savings:
        lines.append(f"{saving.change} would save {saving.monthly_usd:.2f} a month: {saving.command}")
    lines.append(
        f"List prices of {prices.REGION} as of {prices.AS_OF}; traffic, logs and snapshots are extra."
    )
    if settings.region != prices.REGION:
        lines.append(f"This stack is in {settings.region}, whose prices differ.")
    if cost.unpriced:
        lines.append(f"No price is known of {', '.join(cost.unpriced)}: what you pay is more than the total.")
    return "\n".join(lines) + "\n"


def _usd(amount: float | None, digits: int) -> str:
    return UNKNOWN if amount is None else f"{amount:.{digits}f}"
