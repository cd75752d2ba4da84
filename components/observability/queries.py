"""Every PromQL expression of dashboards, rules and runbooks; each is written here and nowhere else.

Labels that Prometheus adds to what the pods expose (components/monitors.py): `namespace`, `pod`, `node`,
`job` and, where the pod carries the label drcio.io/priority, `priority`. The controller speaks of other
pods: on its series about a pod, `namespace` and `pod` are that pod's, on the others they are its own.

An expression has the names of a `Scope`'s fields, such as $pods, where the scope decides (`Scope.of`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from string import Template
from typing import Final

from drcio_controller.law.roles import Role
from drcio_controller.pods.nodepod import DEFAULT_LATENCY_METRIC
from drcio_controller.status.model import Effect

REQUEST_LATENCY: Final = DEFAULT_LATENCY_METRIC
FETCH_LATENCY: Final = "gnn_feature_fetch_seconds"
BATCH_LATENCY: Final = "batch_io_latency_seconds"

LATENCY_TARGET: Final = "drcio:latency_target_seconds"
LATENCY_QUANTILE: Final = "pod:gnn_request_latency_seconds:quantile_1m"
LATENCY_OVER_TARGET: Final = "pod:gnn_request_latency_over_target:ratio_1m"
PRIORITY_BYTES: Final = "priority:drcio_io_bytes:rate1m"
PRIORITY_OPERATIONS: Final = "priority:drcio_io_operations:rate1m"
EXPERIMENT_VERDICT: Final = "drcio:experiment_verdict"
EXPERIMENT_LATENCY: Final = "drcio:experiment_latency_seconds"
EXPERIMENT_LP_BYTES: Final = "drcio:experiment_lp_bytes_per_second"

EFFECT_VALUES: Final = {2: Effect.EFFECTIVE, 1: Effect.IDLE, 0: Effect.INERT}
"""What `EFFECT` returns, in words."""
ROLE_VALUES: Final = {2: Role.PROTECTED, 1: Role.PEER, 0: Role.YIELDING}
"""What `ROLE` returns, in words."""

_POD: Final = "namespace, pod, node, priority"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which series a query looks at, and over how long it takes a rate."""

    pods: str
    """Label matchers, without braces, for series that carry `namespace` and `pod`."""
    nodes: str
    """For the controller's series about a device: they carry `node`."""
    namespaces: str
    """For series about a whole stack: they carry `namespace`."""
    window: str

    def of(self, expression: str) -> str:
        """Return an expression as PromQL: about this scope's series."""
        return Template(expression).substitute(asdict(self))


GRAFANA: Final = Scope(
    pods='namespace=~"$namespace", node=~"$node", pod=~"$pod"',
    nodes='node=~"$node"',
    namespaces='namespace=~"$namespace"',
    window="$__rate_interval",
)
"""A dashboard's variables decide."""


def _mean(gauge: str, matchers: str = "$pods") -> str:
    """Return a gauge's mean over the window: it is of the controller's last pass, and absent after one in
    which there was no I/O."""
    return f"avg_over_time({gauge}{{{matchers}}}[$window])"


def latency(metric: str, quantile: float, by: str = _POD, matchers: str = "$pods") -> str:
    """Return a quantile of a latency histogram, in seconds."""
    return (
        f"histogram_quantile({quantile:g}, sum by ({by}, le) (rate({metric}_bucket{{{matchers}}}[$window])))"
    )


def latency_over_target(priority: str, quantile: float, limit_s: float) -> str:
    """Return how many times its class's target a pod's latency is."""
    measured = latency(REQUEST_LATENCY, quantile, matchers=f'$pods, priority="{priority}"')
    return f"{measured} / {limit_s:g}"


REQUESTS: Final = f'sum by ({_POD}) (rate(gnn_requests_total{{$pods, outcome="ok"}}[$window]))'
"""Answered requests a second, by pod."""
FAILED_REQUESTS: Final = 'sum by (outcome) (rate(gnn_requests_total{$pods, outcome!="ok"}[$window]))'
"""Requests a second that were not answered with scores, by outcome."""
REQUESTS_IN_FLIGHT: Final = f"sum by ({_POD}) (gnn_active_requests{{$pods}})"
BATCH_BYTES: Final = "sum by (namespace, pod, op) (rate(batch_io_bytes_total{$pods}[$window]))"
"""The batch job's bytes a second by its own count, by direction."""
BATCH_IN_FLIGHT: Final = "sum by (namespace, pod) (batch_active_operations{$pods})"
TARGETS: Final = f"max by (priority, percentile) ({LATENCY_TARGET}{{$namespaces}})"
"""The target of each class that has one, in seconds."""
WORST_OVER_TARGET: Final = f"max({LATENCY_OVER_TARGET}{{$pods}})"
"""The largest ratio of a pod's latency to its target."""
VERDICT: Final = f"max by (scenario, verdict) ({EXPERIMENT_VERDICT}{{$namespaces}})"
"""1 for the verdict of each stack's last experiment."""


def device_bytes(by: str) -> str:
    """Return bytes a second by the kernel's count, read and written."""
    read, written = (f"rate(drcio_io_bytes_{way}_total{{$pods}}[$window])" for way in ("read", "write"))
    return f"sum by ({by}) ({read} + {written})"


def device_operations(by: str) -> str:
    """Return I/Os a second by the kernel's count."""
    return f"sum by ({by}) (rate(drcio_io_operations_total{{$pods}}[$window]))"


def shares(kind: str) -> str:
    """Return a pod's share of a device, `intended` or `achieved`."""
    share = _mean("drcio_io_share_ratio", f'$pods, kind="{kind}"')
    return f"max by ({_POD}, device) ({share})"


def _effect(state: Effect) -> str:
    return f'drcio_io_effectiveness{{$pods, state="{state.value}"}}'


WEIGHTS: Final = f"max by ({_POD}) (drcio_io_weight{{$pods}})"
"""The weight that each managed pod's cgroup holds."""
EFFECT: Final = " + ".join(
    f"{factor}max by ({_POD}, device) ({_effect(state)})"
    for factor, state in (("2 * ", Effect.EFFECTIVE), ("", Effect.IDLE))
)
"""Whether each pod's weight acts on each device it uses, as `EFFECT_VALUES` has it."""
INERT_COUNT: Final = f"sum({_effect(Effect.INERT)})"
"""On how many (pod, device) pairs a weight does nothing."""
INERT: Final = f"max by ({_POD}, device) ({_effect(Effect.INERT)}) == 1"
"""The pods whose weight does nothing on a device that they use."""
ROLE: Final = " or ".join(
    f'{value} * max by ({_POD}, device) (drcio_pod_role{{$pods, role="{role.value}"}})'
    for value, role in ROLE_VALUES.items()
)
"""What each pod is taken for on each device it uses, as `ROLE_VALUES` has it."""
STALLS: Final = f"max by ({_POD}) ({_mean('drcio_io_stall_ratio')})"
"""The share of the time in which each pod waited for I/O."""
MANAGED_PODS: Final = "sum by (priority) (drcio_active_pods{$nodes})"

DEVICE_LATENCY: Final = f"max by (node, name) ({_mean('drcio_device_latency_seconds', '$nodes')})"
"""The mean time of a request in the device, in seconds."""
DEVICE_BUDGET: Final = "max by (node, name) (drcio_device_budget_ratio{$nodes})"
"""How many times its profile the device is taken for: the controller's one decision."""
DEVICE_BUDGET_USED: Final = f"max by (node, name) ({_mean('drcio_device_budget_used_ratio', '$nodes')})"
"""The share of that budget that was used."""
DEVICE_STATES: Final = "max by (node, name, state) (drcio_device_info{$nodes})"
"""1 for the state that the policy is in on each device."""
DEVICE_WITHDRAWN: Final = "max by (node, name) (drcio_device_withdrawn{$nodes})"
"""1 for each device on which nobody is held back, as it did not help; 0 for the others."""
OFTEN_WITHDRAWN: Final = (
    "max by (namespace, pod, node, name) (avg_over_time(drcio_device_withdrawn{$nodes}[10m])) > 0.25"
)
"""The devices on which control did not help for a quarter of ten minutes."""
DEVICE_WRITES_WAIT: Final = "max by (node, name) (drcio_device_writes_wait_seconds{$nodes})"
"""For how long a write has been waiting for each device; 0 where none is."""
STOPPED_DEVICES: Final = "max by (namespace, pod, node, name) (drcio_device_writes_wait_seconds{$nodes}) > 30"
"""The devices that end no request, by a write that has been waiting for half a minute."""
DEVICES: Final = "max by (node, device, name, engine, state, profile) (drcio_device_info{$nodes})"
"""1 for each device with its engine and where its profile comes from."""


def agent_rate(counter: str) -> str:
    """Return a controller's own counter a second, by agent."""
    return f"sum by (node, pod) (rate({counter}_total{{$pods}}[$window]))"


def agent_value(metric: str) -> str:
    """Return a value of each controller."""
    return f"max by (node, pod) ({metric}{{$pods}})"


def knob_events(counter: str) -> str:
    """Return a count by kernel file a second; a plain zero where it never happened."""
    happened = f"sum by (file) (rate({counter}_total{{$pods}}[$window]))"
    return f"{happened} or label_replace(0 * sum({AGENT_TICKS}), 'file', 'any', '', '')"


AGENT_UP: Final = 'min by (node, pod) (up{$pods, job=~"(.+/)?drcio-controller"})'
"""1 for each controller that was scraped, 0 for one that did not answer."""
AGENT_TICKS: Final = agent_rate("drcio_ticks")
AGENT_LOAD: Final = agent_rate("drcio_tick_seconds")
"""The share of a core's time that passes of the loop take."""
TICK_SECONDS: Final = f"{AGENT_LOAD} / {AGENT_TICKS}"
"""The mean time of a pass of the control loop."""
API_REQUESTS: Final = "sum by (verb, result) (rate(drcio_api_requests_total{$pods}[$window]))"
"""Requests to the API server a second, by verb and result."""
WRITE_SECONDS: Final = " / ".join(
    f"sum by (file) (drcio_knob_write_seconds_{part}{{$pods}})" for part in ("sum", "count")
)
"""The mean time of a write to each kind of kernel file, since the agents' start."""
STANDBY: Final = "max by (namespace, pod, node, reason) (drcio_agent_standby{$nodes}) == 1"
"""The agents that write nothing, and why."""
STANDBY_REASONS: Final = "max by (node, pod, reason) (drcio_agent_standby{$pods})"
"""1 for the reason why an agent writes nothing, 0 where it writes."""
CONFIG_REFUSED: Final = "max by (namespace, node, pod) (drcio_config_valid{$nodes}) == 0"
"""The controllers that run on another configuration than the file on disk."""
NODES_WITHOUT_CONTROLLER: Final = (
    '(count by (node) (kube_pod_labels{$pods, label_drcio_io_priority!=""} * on (namespace, pod)'
    " group_left (node) (kube_pod_info{$pods} * on (namespace, pod)"
    ' (kube_pod_status_phase{$pods, phase="Running"} == 1)))'
    ' or count by (node) (up{$pods, priority!=""} == 1))'
    ' unless on (node) max by (node) (up{job=~"(.+/)?drcio-controller"} == 1)'
)
"""How many running managed pods a node has on which no controller answers.

Of pods that nobody scrapes only kube-state-metrics knows; of its absence the scraped ones make up."""


def starved(yielding: str, floor_bytes_per_s: float, floor_ios_per_s: float) -> str:
    """Return the nodes whose yielding pods wait for I/O and get less than the floor in bytes and in I/Os."""
    own = f'$pods, priority=~"{yielding}"'
    waits = f"max by (node) ({_mean('drcio_io_stall_ratio', own)}) > 0.5"
    few_bytes = f"sum by (node) ({PRIORITY_BYTES}{{{own}}}) < {floor_bytes_per_s:.0f}"
    few_ios = f"sum by (node) ({PRIORITY_OPERATIONS}{{{own}}}) < {floor_ios_per_s:.0f}"
    return f"({few_bytes}) and on (node) ({few_ios}) and on (node) ({waits})"
