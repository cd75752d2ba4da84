"""The dashboard DRC-IO Overview: is high priority fast, what does low priority get, and who decides."""

from __future__ import annotations

from typing import Final

from components.observability import queries
from components.observability.panels import (
    GREEN,
    GREY,
    RED,
    YELLOW,
    Line,
    Panel,
    Rows,
    graph,
    number,
    states,
    words,
)
from drcio_controller.law.roles import Role
from drcio_controller.status.model import Effect

UID: Final = "drcio-overview"
TITLE: Final = "DRC-IO Overview"
SERIES: Final = "gnn_requests_total|batch_io_bytes_total|drcio_io_weight"
"""Whose labels fill the variables: each scenario has at least one of them."""

_POD: Final = "{{namespace}}/{{pod}}"
_DEVICE: Final = "{{node}} {{name}}"
_EFFECTS: Final = {
    value: (effect.value, {Effect.EFFECTIVE: GREEN, Effect.IDLE: GREY, Effect.INERT: RED}[effect])
    for value, effect in queries.EFFECT_VALUES.items()
}
_ROLES: Final = {
    value: (role.value, {Role.PROTECTED: GREEN, Role.PEER: GREY, Role.YIELDING: YELLOW}[role])
    for value, role in queries.ROLE_VALUES.items()
}
_P95: Final = queries.latency(queries.REQUEST_LATENCY, 0.95, by="namespace")
_BATCH_P95: Final = queries.latency(queries.BATCH_LATENCY, 0.95, by="namespace, pod, op")


def rows() -> Rows:
    """Return the panels."""
    return {**_what_pods_get(), **_what_decides()}


def _what_pods_get() -> Rows:
    return {
        "At a glance": (
            words("Last experiment", "Verdict of the stack's last experiment, from its outputs.",
                  Line(queries.VERDICT, "{{scenario}}: {{verdict}}"), if_none="none yet"),
            number("p95 latency", "Of all requests; what clients wait, seen by the service.", "s",
                   Line(_P95, "{{namespace}}")),
            number("p95 over target", "Above 1 for five minutes raises DrcioLatencyTargetMissed.", "none",
                   Line(queries.WORST_OVER_TARGET, "worst pod"),
                   steps=((None, GREEN), (0.8, YELLOW), (1, RED))),
            number("Batch throughput", "By the job's own count.", "binBps",
                   Line(f"sum({queries.BATCH_BYTES})", "batch")),
            number("Weights without effect", "Pods on devices where no engine reads their weight.", "none",
                   Line(queries.INERT_COUNT, "inert"), steps=((None, GREEN), (1, RED))),
            number("Managed pods", "By class, on the chosen nodes.", "none",
                   Line(queries.MANAGED_PODS, "{{priority}}")),
        ),
        "Latency": (
            _latency("Request latency",
                     "From a request's arrival at the service to its answer. Dashed: the class's target.",
                     queries.REQUEST_LATENCY, Line(queries.TARGETS, "target {{priority}} p{{percentile}}")),
            _latency("Feature fetch latency",
                     "The disk's part of it: from a request's first read to its last.",
                     queries.FETCH_LATENCY),
        ),
        "Throughput": (
            graph("Disk throughput by class", "Read and written, by the kernel's count.", "binBps",
                  [Line(queries.device_bytes("priority"), "{{priority}}")], columns=3),
            graph("Requests (high priority)", "Answered, and not answered by outcome.", "reqps",
                  [Line(queries.REQUESTS, _POD), Line(queries.FAILED_REQUESTS, "{{outcome}}")], columns=3),
            graph("Batch job (low priority)", "By the job's own count.", "binBps",
                  [Line(queries.BATCH_BYTES, f"{_POD} {{{{op}}}}")], columns=3),
        ),
    }  # fmt: skip


def _what_decides() -> Rows:
    return {
        "Weights and their effect": (
            graph("Weights", "What each pod's cgroup holds.", "none",
                  [Line(queries.WEIGHTS, f"{_POD} ({{{{priority}}}})")], columns=3, log_scale=True),
            graph("Share of the device",
                  "Dashed: what the weights intend if everybody wants all of it. Below it, a pod wants less.",
                  "percentunit",
                  [Line(queries.shares(kind), f"{_POD} {kind}") for kind in ("achieved", "intended")],
                  columns=3, dashed=".* intended$"),
            states("Effect", "Whether each pod's weight acts on each device it uses.",
                   [Line(queries.EFFECT, f"{_POD} {{{{device}}}}")], _EFFECTS, columns=3),
            states("Roles", "What each pod is taken for on each device it uses; pods of no class too.",
                   [Line(queries.ROLE, f"{_POD} {{{{device}}}}")], _ROLES, columns=1),
        ),
        "Waits and pressure": (
            graph("I/O pressure", "Share of the time in which a pod waited for I/O (PSI some).",
                  "percentunit", [Line(queries.STALLS, _POD)], columns=4),
            graph("Time in the device", "Mean of a request; a queue behind the device shows here.", "s",
                  [Line(queries.DEVICE_LATENCY, _DEVICE)], columns=4, log_scale=True),
            graph("Time of a batch operation", "95th percentile, from submission to completion.", "s",
                  [Line(_BATCH_P95, f"{_POD} {{{{op}}}}")], columns=4, log_scale=True),
            graph("In flight", "Requests at the service, operations of the batch job.", "none",
                  [Line(queries.REQUESTS_IN_FLIGHT, f"{_POD} requests"),
                   Line(queries.BATCH_IN_FLIGHT, f"{_POD} operations")], columns=4),
        ),
        "The controller's decisions": (
            graph("Budget",
                  "How many times its profile the device is taken for, and how much of that is used.", "none",
                  [Line(queries.DEVICE_BUDGET, f"{_DEVICE} budget"),
                   Line(queries.DEVICE_BUDGET_USED, f"{_DEVICE} used (share)")], columns=3),
            states("State", "What the policy is doing on each device.",
                   [Line(queries.DEVICE_STATES, f"{_DEVICE}: {{{{state}}}}")],
                   {1: ("yes", GREEN)}, columns=3),
            states("Control withdrawn", "Nobody is held back for a while, as holding back did not help.",
                   [Line(queries.DEVICE_WITHDRAWN, _DEVICE)],
                   {0: ("no", GREEN), 1: ("withdrawn", RED)}, columns=3),
        ),
    }  # fmt: skip


def _latency(title: str, description: str, metric: str, *target: Line) -> Panel:
    """Draw the percentiles of a latency, and a target where it has one."""
    lines = [
        Line(queries.latency(metric, quantile), f"{_POD} p{quantile * 100:g}")
        for quantile in (0.5, 0.95, 0.99)
    ]
    return graph(title, description, "s", [*lines, *target], log_scale=True, dashed="^target.*")
