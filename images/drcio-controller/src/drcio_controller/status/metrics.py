"""Show the last status and the counters in Prometheus' format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from drcio_controller.standby import Standby
from drcio_controller.status.model import Effect, NodeStatus
from drcio_controller.status.report import WRITE_BOUNDS_S, Tally


class NodeCollector(Collector):
    """Build every family anew from values that other threads never change in place."""

    def __init__(self, status: Callable[[], NodeStatus], tally: Tally) -> None:
        self._status = status
        self._tally = tally

    def describe(self) -> Iterable[Metric]:
        """Return no metric, so that registering does not need a status yet."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Yield all families."""
        status = self._status()
        yield from _pods(status)
        yield from _devices(status)
        yield from _counters(status, self._tally)


def _pods(status: NodeStatus) -> Iterable[Metric]:
    pod_labels = ["namespace", "pod", "priority"]
    weight = GaugeMetricFamily("drcio_io_weight", "I/O weight that the pod's cgroup holds", labels=pod_labels)
    active = GaugeMetricFamily("drcio_active_pods", "Managed pods on this node", labels=["priority"])
    on_device = [*pod_labels, "device"]
    read = CounterMetricFamily("drcio_io_bytes_read", "Bytes read, by the kernel's count", labels=on_device)
    written = CounterMetricFamily(
        "drcio_io_bytes_write", "Bytes written, by the kernel's count", labels=on_device
    )
    ios = CounterMetricFamily("drcio_io_operations", "I/Os, by the kernel's count", labels=on_device)
    effect = GaugeMetricFamily(
        "drcio_io_effectiveness",
        "Whether the pod's weight acts on the device: 1 for the state it is in",
        labels=[*on_device, "state"],
    )
    stall = GaugeMetricFamily(
        "drcio_io_stall_ratio",
        "Share of the time in which the pod waited for I/O (PSI some)",
        labels=pod_labels,
    )
    share = GaugeMetricFamily(
        "drcio_io_share_ratio", "Share of the device, intended and achieved", labels=[*on_device, "kind"]
    )
    role = GaugeMetricFamily(
        "drcio_pod_role",
        "What the pod is taken for on the device: 1; pods of no class too",
        labels=[*on_device, "role"],
    )
    counts: dict[str, int] = {}
    for pod in status.pods:
        priority = pod.priority or ""
        for entry in pod.devices:
            if entry.role is not None:
                role.add_metric([pod.namespace, pod.name, priority, entry.device, entry.role], 1)
        if pod.weight is None:
            continue
        counts[priority] = counts.get(priority, 0) + 1
        labels = [pod.namespace, pod.name, priority]
        if pod.weight_set is not None:
            weight.add_metric(labels, pod.weight_set)
        for entry in pod.devices:
            where = [*labels, entry.device]
            read.add_metric(where, entry.bytes_read)
            written.add_metric(where, entry.bytes_written)
            ios.add_metric(where, entry.ios)
            for state in Effect:
                effect.add_metric([*where, state.value], float(state is entry.effect))
            for kind, value in (("intended", entry.share_intended), ("achieved", entry.share_achieved)):
                if value is not None:
                    share.add_metric([*where, kind], value)
        stalls = [entry.io_stall_ratio for entry in pod.devices if entry.io_stall_ratio is not None]
        if stalls:
            stall.add_metric(labels, max(stalls))
    for priority, count in counts.items():
        active.add_metric([priority], count)
    yield from (weight, active, role, read, written, ios, effect, stall, share)


def _devices(status: NodeStatus) -> Iterable[Metric]:
    labels = ["device", "name"]
    info = GaugeMetricFamily(
        "drcio_device_info",
        "Engine and policy state of a device",
        labels=[*labels, "engine", "state", "profile"],
    )
    budget = GaugeMetricFamily(
        "drcio_device_budget_ratio", "How many times its profile the device is taken for", labels=labels
    )
    used = GaugeMetricFamily(
        "drcio_device_budget_used_ratio", "Share of the budget that was used", labels=labels
    )
    latency = GaugeMetricFamily(
        "drcio_device_latency_seconds", "Mean time of a request in the device in the last tick", labels=labels
    )
    acting = GaugeMetricFamily(
        "drcio_device_acting", "1 if what makes weights act on the device was read back", labels=labels
    )
    withdrawn = GaugeMetricFamily(
        "drcio_device_withdrawn",
        "1 while nobody is held back on the device, as that did not help those who are protected",
        labels=labels,
    )
    waits = GaugeMetricFamily(
        "drcio_device_writes_wait_seconds",
        "For how long a write has been waiting for a device that has stopped; 0 for one that has not",
        labels=labels,
    )
    for entry in status.devices:
        where = [entry.device, entry.name]
        withdrawn.add_metric(where, float(bool(entry.withdrawn)))
        waits.add_metric(where, entry.writes_wait_s or 0.0)
        acting.add_metric(where, float(entry.acting))
        info.add_metric([*where, entry.engine, entry.state, entry.profile_source], 1)
        budget.add_metric(where, entry.budget_ratio)
        if entry.budget_used_ratio is not None:
            used.add_metric(where, entry.budget_used_ratio)
        if entry.latency_ms is not None:
            latency.add_metric(where, entry.latency_ms / 1000)
    yield from (info, acting, budget, used, latency, withdrawn, waits)


def _counters(status: NodeStatus, tally: Tally) -> Iterable[Metric]:
    for name, text, value in (
        ("drcio_workload_discovery", "Managed pods discovered", tally.discovered),
        ("drcio_io_weight_applied", "Weights written and read back", tally.weight_writes),
        ("drcio_ticks", "Passes of the control loop", tally.ticks),
        ("drcio_tick_errors", "Passes that ended in an unexpected error", tally.tick_errors),
        ("drcio_tick_seconds", "Time spent in passes", tally.tick_seconds),
        ("drcio_malformed_files", "Kernel files that could not be read", tally.malformed),
        ("drcio_config_reloads", "Configuration files taken", tally.config_reloads),
        ("drcio_config_errors", "Configuration files refused", tally.config_errors),
    ):
        yield CounterMetricFamily(name, text, value=value)
    for name, text, counts in (
        ("drcio_knob_writes", "Kernel files written", tally.writes),
        ("drcio_knob_failures", "Kernel files that could not be written", tally.failures),
        ("drcio_foreign_changes", "Knobs that somebody else changed", tally.foreign_changes),
    ):
        family = CounterMetricFamily(name, text, labels=["file"])
        for file, count in list(counts.items()):
            family.add_metric([file], count)
        yield family
    yield _write_times(tally)
    withdrawals = CounterMetricFamily(
        "drcio_withdrawals",
        "Times that control was withdrawn from a device, as it did not help",
        labels=["device", "name"],
    )
    for where, count in list(tally.withdrawals.items()):
        withdrawals.add_metric(list(where), count)
    yield withdrawals
    requests = CounterMetricFamily(
        "drcio_api_requests", "Requests to the API server", labels=["verb", "result"]
    )
    for (verb, result), count in list(tally.api_requests.items()):
        requests.add_metric([verb, result], count)
    yield requests
    standby = GaugeMetricFamily(
        "drcio_agent_standby",
        "1 for the reason why this agent writes nothing; 0 for all of them where it does",
        labels=["reason"],
    )
    for reason in Standby:
        standby.add_metric([reason.value], float(status.standby == reason))
    yield standby
    yield GaugeMetricFamily(
        "drcio_config_valid", "1 if the configuration file on disk is the one in force",
        value=float(not status.config_error),
    )  # fmt: skip


def _write_times(tally: Tally) -> HistogramMetricFamily:
    family = HistogramMetricFamily(
        "drcio_knob_write_seconds",
        "Time that a write to a kernel file took; one that freezes the queue waits until it is empty",
        labels=["file"],
    )
    bounds = [*(f"{bound:g}" for bound in WRITE_BOUNDS_S), "+Inf"]
    for file, times in list(tally.write_times.items()):
        family.add_metric([file], list(zip(bounds, accumulate(times.counts), strict=True)), times.total_s)
    return family
