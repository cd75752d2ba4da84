"""Recording rules and alerts, from the same configuration that the controller runs on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from components.observability import queries
from components.observability.queries import Scope
from drcio_controller.config import Config, LatencyTarget, VolumeProfile

Severity = Literal["critical", "warning"]
Value = str | list["Value"] | dict[str, "Value"]

DEFAULT_TARGET: Final = LatencyTarget(percentile=95, limit_s=0.1)
"""For the heaviest class where no class has a target: the controller can do without one and works from
kernel signals, somebody who is to be woken cannot."""

RUNBOOKS: Final = "docs/runbooks"
"""Where the pages are in this repository."""

_QUANTILES: Final = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose rules they are: several stacks may share a cluster, hence a Prometheus."""

    namespace: str
    """Of the stack's workloads."""
    system_namespace: str
    """Of its controller."""
    whole_cluster: bool
    """The stack's controller manages pods of every namespace."""

    @property
    def own(self) -> Scope:
        """Return the scope of what the stack itself runs."""
        return self._scope(self.namespace)

    @property
    def managed(self) -> Scope:
        """Return the scope of what its controller manages."""
        return self._scope(".+" if self.whole_cluster else self.namespace)

    def _scope(self, namespaces: str) -> Scope:
        return Scope(
            pods=f'namespace=~"{namespaces}"',
            nodes=f'namespace="{self.system_namespace}"',
            namespaces=f'namespace="{self.namespace}"',
            window="1m",
        )


RecordingRule = dict[str, Value]
"""A query whose answer is stored under a name of its own, as Prometheus has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """A condition of which Alertmanager notifies somebody."""

    alert: str
    expr: str
    held_for: str
    """How long it must hold first."""
    severity: Severity
    summary: str
    description: str

    @property
    def runbook(self) -> str:
        """Return its page's name, without folder and ending: DrcioWeightsInert has weights-inert."""
        return "-".join(re.findall("[A-Z][a-z]+", self.alert.removeprefix("Drcio"))).lower()

    def to_json(self, runbooks: str) -> dict[str, Value]:
        """Return the rule; `runbooks` is where the pages are published, empty where they are not."""
        page = f"{self.runbook}.md"
        # What is no address must not stand where Alertmanager makes a link of it.
        where = (
            {"runbook_url": f"{runbooks.rstrip('/')}/{page}"}
            if runbooks
            else {"runbook": f"{RUNBOOKS}/{page}"}
        )
        return {
            "alert": self.alert,
            "expr": self.expr,
            "for": self.held_for,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                **where,
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are evaluated together, one after the other."""

    name: str
    rules: Sequence[RecordingRule | AlertRule]


def service_group(config: Config, owner: Owner) -> Group:
    """Return the rules about the demo's service: other services' metrics have other names."""
    return Group(
        name="drcio-service", rules=(*_latency_records(config, owner), _target_missed(config, owner))
    )


def controller_group(config: Config, owner: Owner) -> Group:
    """Return the rules about the controller and the pods that it manages, whosever they are."""
    managed = owner.managed
    return Group(
        name="drcio-controller",
        rules=(
            *_throughput_records(managed),
            *_agent_alerts(managed),
            *_device_alerts(managed),
            *_starved(config, managed),
        ),
    )


def as_spec(groups: Sequence[Group], runbooks: str = "") -> dict[str, Value]:
    """Return the groups as Prometheus' rule file and a PrometheusRule's spec both have them."""
    return {
        "groups": [
            {
                "name": group.name,
                "rules": [
                    rule.to_json(runbooks) if isinstance(rule, AlertRule) else rule for rule in group.rules
                ],
            }
            for group in groups
        ]
    }


def experiment_group(owner: Owner, *, scenario: str, verdict: str, p95_s: str, lp_bytes_per_s: str) -> Group:
    """Return the last experiment's result as series, so that it stands on the dashboard and in history.

    The numbers are PromQL scalars: `NaN` where an invalid run has none.
    """
    labels = {"namespace": owner.namespace, "scenario": scenario}
    return Group(
        name="drcio-experiment",
        rules=(
            _record(queries.EXPERIMENT_VERDICT, "vector(1)", **labels, verdict=verdict),
            _record(queries.EXPERIMENT_LATENCY, f"vector({p95_s})", **labels, quantile="0.95"),
            _record(queries.EXPERIMENT_LP_BYTES, f"vector({lp_bytes_per_s})", **labels),
        ),
    )


def targets(config: Config) -> dict[str, LatencyTarget]:
    """Return the latency target of each class that has one; never empty."""
    given = {
        name: entry.latency_target
        for name, entry in config.classes.items()
        if entry.latency_target is not None
    }
    return given or {heaviest(config): DEFAULT_TARGET}


def heaviest(config: Config) -> str:
    """Return the class that the controller protects where several are on a device."""
    return max(config.classes, key=lambda name: config.classes[name].weight)


def _record(name: str, expr: str, **labels: str) -> RecordingRule:
    return {"record": name, "expr": expr, **({"labels": {**labels}} if labels else {})}


def _latency_records(config: Config, owner: Owner) -> Iterator[RecordingRule]:
    scope = owner.own
    for quantile in _QUANTILES:
        expr = queries.latency(queries.REQUEST_LATENCY, quantile)
        yield _record(queries.LATENCY_QUANTILE, scope.of(expr), quantile=f"{quantile:g}")
    for priority, target in targets(config).items():
        labels, limit = {"percentile": f"{target.percentile:g}"}, f"vector({target.limit_s:g})"
        yield _record(queries.LATENCY_TARGET, limit, **labels, namespace=owner.namespace, priority=priority)
        expr = queries.latency_over_target(priority, target.percentile / 100, target.limit_s)
        yield _record(queries.LATENCY_OVER_TARGET, scope.of(expr), **labels)


def _throughput_records(scope: Scope) -> Iterator[RecordingRule]:
    by = "namespace, node, priority"
    yield _record(queries.PRIORITY_BYTES, scope.of(queries.device_bytes(by)))
    yield _record(queries.PRIORITY_OPERATIONS, scope.of(queries.device_operations(by)))


def _target_missed(config: Config, owner: Owner) -> AlertRule:
    classes = "|".join(targets(config))
    return AlertRule(
        alert="DrcioLatencyTargetMissed",
        expr=f'{queries.LATENCY_OVER_TARGET}{{{owner.own.pods}, priority=~"{classes}"}} > 1',
        held_for="5m",
        severity="critical",
        summary="{{ $labels.namespace }}/{{ $labels.pod }} misses its latency target",
        description=(
            "The {{ $labels.percentile }}th percentile of its latency has been "
            "{{ $value | humanize }} times the target of class {{ $labels.priority }} for five minutes."
        ),
    )


def _agent_alerts(scope: Scope) -> list[AlertRule]:
    return [
        AlertRule(
            alert="DrcioWeightsInert",
            expr=scope.of(queries.INERT),
            held_for="2m",
            severity="critical",
            summary="The I/O weight of {{ $labels.namespace }}/{{ $labels.pod }} does nothing",
            description=(
                "It does I/O on device {{ $labels.device }} of node {{ $labels.node }}, where no engine "
                "reads its weight."
            ),
        ),
        AlertRule(
            alert="DrcioControllerDown",
            expr=scope.of(queries.NODES_WITHOUT_CONTROLLER),
            held_for="2m",
            severity="critical",
            summary="No controller answers on node {{ $labels.node }}",
            description="{{ $value }} managed pods run there; nobody adjusts their weights.",
        ),
        AlertRule(
            alert="DrcioConfigRefused",
            expr=scope.of(queries.CONFIG_REFUSED),
            held_for="1m",
            severity="warning",
            summary="{{ $labels.namespace }}/{{ $labels.pod }} refuses its configuration",
            description="It goes on with the last good one on node {{ $labels.node }}.",
        ),
        AlertRule(
            alert="DrcioAgentStandby",
            expr=scope.of(queries.STANDBY),
            held_for="5m",
            severity="warning",
            summary="{{ $labels.namespace }}/{{ $labels.pod }} on node {{ $labels.node }} is passive",
            description="It writes nothing, for this reason: {{ $labels.reason }}.",
        ),
    ]


def _device_alerts(scope: Scope) -> list[AlertRule]:
    return [
        AlertRule(
            alert="DrcioControlWithdrawn",
            expr=scope.of(queries.OFTEN_WITHDRAWN),
            held_for="5m",
            severity="warning",
            summary="Control of {{ $labels.name }} on node {{ $labels.node }} does not help",
            description=(
                "For {{ $value | humanizePercentage }} of ten minutes nobody was held back there, as "
                "holding back did not help the pods that are protected."
            ),
        ),
        AlertRule(
            alert="DrcioDeviceStopped",
            expr=scope.of(queries.STOPPED_DEVICES),
            held_for="1m",
            severity="warning",
            summary="Device {{ $labels.name }} of node {{ $labels.node }} ends no requests",
            description="A write to its configuration has been waiting for {{ $value | humanizeDuration }}.",
        ),
    ]


def _starved(config: Config, scope: Scope) -> list[AlertRule]:
    """Return no rule where no volume's speed is known: an unknown disk has no floor."""
    if not config.volumes:
        return []
    floor = config.floor_percent / 100
    profile = _slowest(config.volumes)
    yielding = "|".join(name for name in config.classes if name != heaviest(config)) or heaviest(config)
    return [
        AlertRule(
            alert="DrcioLowPriorityStarved",
            expr=scope.of(queries.starved(yielding, floor * profile.bytes_per_s, floor * profile.iops)),
            held_for="5m",
            severity="warning",
            summary="Low-priority pods on node {{ $labels.node }} get less than their floor",
            description=(
                "They wait for I/O most of the time and get {{ $value | humanize1024 }}B/s; "
                f"the floor is {config.floor_percent:g}% of the volume."
            ),
        )
    ]


def _slowest(volumes: Sequence[VolumeProfile]) -> VolumeProfile:
    """Return the profile whose floor is lowest: no metric names the profile of a node."""
    return min(volumes, key=lambda volume: (volume.bytes_per_s, volume.iops))
