"""Every PromQL expression of dashboards, rules and runbooks; each is written here and nowhere else.

Labels that Prometheus adds to what the pods expose (components/monitors.py): `namespace`, `pod`, `node`,
`job` and, where the pod carries the label drcio.io/priority, `priority`. The controller speaks of other
pods: on its series about a pod, `namespace` and `pod` are that pod's, on the others they are its own.
"""

from __future__ import annotations

from dataclasses import dataclass
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
"""What `effect` returns, in words."""
ROLE_VALUES: Final = {2: Role.PROTECTED, 1: Role.PEER, 0: Role.YIELDING}
"""What `role` returns, in words."""

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


GRAFANA: Final = Scope(
    pods='namespace=~"$namespace", node=~"$node", pod=~"$pod"',
    nodes='node=~"$node"',
    namespaces='namespace=~"$namespace"',
    window="$__rate_interval",
)
"""A dashboard's variables decide."""


def latency(scope: Scope, metric: str, quantile: float, by: str = _POD, matchers: str = "") -> str:
    """Return a quantile of a latency histogram, in seconds."""
    selector = _with(scope.pods, matchers)
    return (
        f"histogram_quantile({quantile:g}, "
        f"sum by ({by}, le) (rate({metric}_bucket{{{selector}}}[{scope.window}])))"
    )


def latency_over_target(scope: Scope, priority: str, quantile: float, limit_s: float) -> str:
    """Return how many times its class's target a pod's latency is."""
    measured = latency(scope, REQUEST_LATENCY, quantile, matchers=f'priority="{priority}"')
    return f"{measured} / {limit_s:g}"


def requests(scope: Scope) -> str:
    """Return answered requests a second, by pod."""
    return f'sum by ({_POD}) (rate(gnn_requests_total{{{scope.pods}, outcome="ok"}}[{scope.window}]))'


def failed_requests(scope: Scope) -> str:
    """Return requests a second that were not answered with scores, by outcome."""
    return f'sum by (outcome) (rate(gnn_requests_total{{{scope.pods}, outcome!="ok"}}[{scope.window}]))'


def requests_in_flight(scope: Scope) -> str:
    """Return requests in flight, by pod."""
    return f"sum by ({_POD}) (gnn_active_requests{{{scope.pods}}})"


def device_bytes(scope: Scope, by: str) -> str:
    """Return bytes a second by the kernel's count, read and written."""
    read, written = (
        f"rate(drcio_io_bytes_{way}_total{{{scope.pods}}}[{scope.window}])" for way in ("read", "write")
    )
    return f"sum by ({by}) ({read} + {written})"


def device_operations(scope: Scope, by: str) -> str:
    """Return I/Os a second by the kernel's count."""
    return f"sum by ({by}) (rate(drcio_io_operations_total{{{scope.pods}}}[{scope.window}]))"


def batch_bytes(scope: Scope) -> str:
    """Return the batch job's bytes a second by its own count, by direction."""
    return f"sum by (namespace, pod, op) (rate(batch_io_bytes_total{{{scope.pods}}}[{scope.window}]))"


def latency_target(scope: Scope) -> str:
    """Return the target of each class that has one, in seconds."""
    return f"max by (priority, percentile) ({LATENCY_TARGET}{{{scope.namespaces}}})"


def worst_over_target(scope: Scope) -> str:
    """Return the largest ratio of a pod's latency to its target."""
    return f"max({LATENCY_OVER_TARGET}{{{scope.pods}}})"


def verdict(scope: Scope) -> str:
    """Return 1 for the verdict of each stack's last experiment."""
    return f"max by (scenario, verdict) ({EXPERIMENT_VERDICT}{{{scope.namespaces}}})"


def batch_in_flight(scope: Scope) -> str:
    """Return the batch job's operations in flight."""
    return f"sum by (namespace, pod) (batch_active_operations{{{scope.pods}}})"


def weights(scope: Scope) -> str:
    """Return the weight that each managed pod's cgroup holds."""
    return f"max by ({_POD}) (drcio_io_weight{{{scope.pods}}})"


def shares(scope: Scope, kind: str) -> str:
    """Return a pod's share of a device, `intended` or `achieved`."""
    share = _mean(scope, "drcio_io_share_ratio", _with(scope.pods, f'kind="{kind}"'))
    return f"max by ({_POD}, device) ({share})"


def effect(scope: Scope) -> str:
    """Return whether each pod's weight acts on each device it uses, as `EFFECT_VALUES` has it."""
    by = f"max by ({_POD}, device)"
    effective, idle = (
        f'{by} (drcio_io_effectiveness{{{scope.pods}, state="{state.value}"}})'
        for state in (Effect.EFFECTIVE, Effect.IDLE)
    )
    return f"2 * {effective} + {idle}"


def inert_count(scope: Scope) -> str:
    """Return on how many (pod, device) pairs a weight does nothing."""
    return f'sum(drcio_io_effectiveness{{{scope.pods}, state="{Effect.INERT.value}"}})'


def inert(scope: Scope) -> str:
    """Return the pods whose weight does nothing on a device that they use."""
    return (
        f'max by ({_POD}, device) (drcio_io_effectiveness{{{scope.pods}, state="{Effect.INERT.value}"}}) == 1'
    )


def role(scope: Scope) -> str:
    """Return what each pod is taken for on each device it uses, as `ROLE_VALUES` has it."""
    of_each = (
        f'{value} * max by ({_POD}, device) (drcio_pod_role{{{scope.pods}, role="{one.value}"}})'
        for value, one in ROLE_VALUES.items()
    )
    return " or ".join(of_each)


def stalls(scope: Scope) -> str:
    """Return the share of the time in which each pod waited for I/O."""
    return f"max by ({_POD}) ({_mean(scope, 'drcio_io_stall_ratio', scope.pods)})"


def managed_pods(scope: Scope) -> str:
    """Return managed pods by class."""
    return f"sum by (priority) (drcio_active_pods{{{scope.nodes}}})"


def device_latency(scope: Scope) -> str:
    """Return the mean time of a request in the device, in seconds."""
    return f"max by (node, name) ({_mean(scope, 'drcio_device_latency_seconds', scope.nodes)})"


def device_budget(scope: Scope) -> str:
    """Return how many times its profile the device is taken for: the controller's one decision."""
    return f"max by (node, name) (drcio_device_budget_ratio{{{scope.nodes}}})"


def device_budget_used(scope: Scope) -> str:
    """Return the share of that budget that was used."""
    return f"max by (node, name) ({_mean(scope, 'drcio_device_budget_used_ratio', scope.nodes)})"


def device_states(scope: Scope) -> str:
    """Return 1 for the state that the policy is in on each device."""
    return f"max by (node, name, state) (drcio_device_info{{{scope.nodes}}})"


def device_withdrawn(scope: Scope) -> str:
    """Return 1 for each device on which nobody is held back, as it did not help; 0 for the others."""
    return f"max by (node, name) (drcio_device_withdrawn{{{scope.nodes}}})"


def often_withdrawn(scope: Scope) -> str:
    """Return the devices on which control did not help for a quarter of ten minutes."""
    share = f"avg_over_time(drcio_device_withdrawn{{{scope.nodes}}}[10m])"
    return f"max by (namespace, pod, node, name) ({share}) > 0.25"


def device_writes_wait(scope: Scope) -> str:
    """Return for how long a write has been waiting for each device; 0 where none is."""
    return f"max by (node, name) (drcio_device_writes_wait_seconds{{{scope.nodes}}})"


def stopped_devices(scope: Scope) -> str:
    """Return the devices that end no request, by a write that has been waiting for half a minute."""
    waits = f"drcio_device_writes_wait_seconds{{{scope.nodes}}}"
    return f"max by (namespace, pod, node, name) ({waits}) > 30"


def devices(scope: Scope) -> str:
    """Return 1 for each device with its engine and where its profile comes from."""
    return f"max by (node, device, name, engine, state, profile) (drcio_device_info{{{scope.nodes}}})"


def agent_up(scope: Scope) -> str:
    """Return 1 for each controller that was scraped, 0 for one that did not answer."""
    return f'min by (node, pod) (up{{{scope.pods}, job=~"(.+/)?drcio-controller"}})'


def agent_rate(scope: Scope, counter: str) -> str:
    """Return a controller's own counter a second, by agent."""
    return f"sum by (node, pod) (rate({counter}_total{{{scope.pods}}}[{scope.window}]))"


def agent_value(scope: Scope, metric: str) -> str:
    """Return a value of each controller."""
    return f"max by (node, pod) ({metric}{{{scope.pods}}})"


def tick_seconds(scope: Scope) -> str:
    """Return the mean time of a pass of the control loop."""
    return f"{agent_rate(scope, 'drcio_tick_seconds')} / {agent_rate(scope, 'drcio_ticks')}"


def agent_load(scope: Scope) -> str:
    """Return the share of a core's time that passes of the loop take."""
    return agent_rate(scope, "drcio_tick_seconds")


def api_requests(scope: Scope) -> str:
    """Return requests to the API server a second, by verb and result."""
    return f"sum by (verb, result) (rate(drcio_api_requests_total{{{scope.pods}}}[{scope.window}]))"


def knob_events(scope: Scope, counter: str) -> str:
    """Return a count by kernel file a second; a plain zero where it never happened."""
    happened = f"sum by (file) (rate({counter}_total{{{scope.pods}}}[{scope.window}]))"
    return f"{happened} or label_replace(0 * sum({agent_rate(scope, 'drcio_ticks')}), 'file', 'any', '', '')"


def write_seconds(scope: Scope) -> str:
    """Return the mean time of a write to each kind of kernel file, since the agents' start."""
    total, count = (
        f"sum by (file) (drcio_knob_write_seconds_{part}{{{scope.pods}}})" for part in ("sum", "count")
    )
    return f"{total} / {count}"


def standby(scope: Scope) -> str:
    """Return the agents that write nothing, and why."""
    return f"max by (namespace, pod, node, reason) (drcio_agent_standby{{{scope.nodes}}}) == 1"


def standby_reasons(scope: Scope) -> str:
    """Return 1 for the reason why an agent writes nothing, 0 where it writes."""
    return f"max by (node, pod, reason) (drcio_agent_standby{{{scope.pods}}})"


def config_refused(scope: Scope) -> str:
    """Return the controllers that run on another configuration than the file on disk."""
    return f"max by (namespace, node, pod) (drcio_config_valid{{{scope.nodes}}}) == 0"


def nodes_without_controller(scope: Scope) -> str:
    """Return how many running managed pods a node has on which no controller answers.

    Of pods that nobody scrapes only kube-state-metrics knows; of its absence the scraped ones make up.
    """
    known = (
        f'count by (node) (kube_pod_labels{{{scope.pods}, label_drcio_io_priority!=""}}'
        f" * on (namespace, pod) group_left (node) (kube_pod_info{{{scope.pods}}} * on (namespace, pod) "
        f'(kube_pod_status_phase{{{scope.pods}, phase="Running"}} == 1)))'
    )
    scraped = f'count by (node) (up{{{scope.pods}, priority!=""}} == 1)'
    answering = 'max by (node) (up{job=~"(.+/)?drcio-controller"} == 1)'
    return f"({known} or {scraped}) unless on (node) {answering}"


def starved(scope: Scope, yielding: str, floor_bytes_per_s: float, floor_ios_per_s: float) -> str:
    """Return the nodes whose yielding pods wait for I/O and get less than the floor in bytes and in I/Os."""
    own = f'{scope.pods}, priority=~"{yielding}"'
    waits = f"max by (node) ({_mean(scope, 'drcio_io_stall_ratio', own)}) > 0.5"
    few_bytes = f"sum by (node) ({PRIORITY_BYTES}{{{own}}}) < {floor_bytes_per_s:.0f}"
    few_ios = f"sum by (node) ({PRIORITY_OPERATIONS}{{{own}}}) < {floor_ios_per_s:.0f}"
    return f"({few_bytes}) and on (node) ({few_ios}) and on (node) ({waits})"


def _mean(scope: Scope, gauge: str, matchers: str) -> str:
    """Return a gauge's mean over the window: it is of the controller's last pass, and absent after one in
    which there was no I/O."""
    return f"avg_over_time({gauge}{{{matchers}}}[{scope.window}])"


def _with(matchers: str, more: str) -> str:
    return f"{matchers}, {more}" if more else matchers
