"""The dashboard DRC-IO Overview: is high priority fast, what does low priority get, and who decides."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard

from components.observability import queries
from components.observability.panels import (
    GREEN,
    GREY,
    RED,
    YELLOW,
    Line,
    graph,
    number,
    states,
    words,
)
from components.observability.queries import GRAFANA, Scope
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


def with_panels(board: dashboard.Dashboard, scope: Scope = GRAFANA) -> dashboard.Dashboard:
    """Add the panels."""
    _summary(board, scope)
    _latency(board, scope)
    _throughput(board, scope)
    _weights(board, scope)
    _pressure(board, scope)
    _decisions(board, scope)
    return board


def _summary(board: dashboard.Dashboard, scope: Scope) -> None:
    p95 = queries.latency(scope, queries.REQUEST_LATENCY, 0.95, by="namespace")
    board.with_row(dashboard.Row("At a glance"))
    board.with_panel(
        words(
            "Last experiment",
            "Verdict of the stack's last experiment, from its outputs.",
            Line(expr=queries.verdict(scope), legend="{{scenario}}: {{verdict}}"),
            if_none="none yet",
        )
    )
    board.with_panel(
        number("p95 latency", "Of all requests; what clients wait, seen by the service.", "s",
               Line(expr=p95, legend="{{namespace}}"))
    )  # fmt: skip
    board.with_panel(
        number(
            "p95 over target",
            "Above 1 for five minutes raises DrcioLatencyTargetMissed.",
            "none",
            Line(expr=queries.worst_over_target(scope), legend="worst pod"),
            steps=((None, GREEN), (0.8, YELLOW), (1, RED)),
        )
    )
    board.with_panel(
        number("Batch throughput", "By the job's own count.", "binBps",
               Line(expr=f"sum({queries.batch_bytes(scope)})", legend="batch"))
    )  # fmt: skip
    board.with_panel(
        number("Weights without effect", "Pods on devices where no engine reads their weight.", "none",
               Line(expr=queries.inert_count(scope), legend="inert"), steps=((None, GREEN), (1, RED)))
    )  # fmt: skip
    board.with_panel(
        number("Managed pods", "By class, on the chosen nodes.", "none",
               Line(expr=queries.managed_pods(scope), legend="{{priority}}"))
    )  # fmt: skip


def _latency(board: dashboard.Dashboard, scope: Scope) -> None:
    board.with_row(dashboard.Row("Latency"))
    for title, description, metric, target in (
        (
            "Request latency",
            "From a request's arrival at the service to its answer. Dashed: the class's target.",
            queries.REQUEST_LATENCY,
            [Line(expr=queries.latency_target(scope), legend="target {{priority}} p{{percentile}}")],
        ),
        (
            "Feature fetch latency",
            "The disk's part of it: from a request's first read to its last.",
            queries.FETCH_LATENCY,
            [],
        ),
    ):
        lines = [
            Line(expr=queries.latency(scope, metric, quantile), legend=f"{_POD} p{quantile * 100:g}")
            for quantile in (0.5, 0.95, 0.99)
        ]
        board.with_panel(
            graph(title, description, "s", [*lines, *target], log_scale=True, dashed="^target.*")
        )


def _throughput(board: dashboard.Dashboard, scope: Scope) -> None:
    board.with_row(dashboard.Row("Throughput"))
    board.with_panel(
        graph("Disk throughput by class", "Read and written, by the kernel's count.", "binBps",
              [Line(expr=queries.device_bytes(scope, "priority"), legend="{{priority}}")], columns=3)
    )  # fmt: skip
    board.with_panel(
        graph("Requests (high priority)", "Answered, and not answered by outcome.", "reqps",
              [Line(expr=queries.requests(scope), legend=_POD),
               Line(expr=queries.failed_requests(scope), legend="{{outcome}}")], columns=3)
    )  # fmt: skip
    board.with_panel(
        graph("Batch job (low priority)", "By the job's own count.", "binBps",
              [Line(expr=queries.batch_bytes(scope), legend=f"{_POD} {{{{op}}}}")], columns=3)
    )  # fmt: skip


def _weights(board: dashboard.Dashboard, scope: Scope) -> None:
    board.with_row(dashboard.Row("Weights and their effect"))
    board.with_panel(
        graph("Weights", "What each pod's cgroup holds.", "none",
              [Line(expr=queries.weights(scope), legend=f"{_POD} ({{{{priority}}}})")],
              columns=3, log_scale=True)
    )  # fmt: skip
    board.with_panel(
        graph(
            "Share of the device",
            "Dashed: what the weights intend if everybody wants all of it. Below it, a pod wants less.",
            "percentunit",
            [
                Line(expr=queries.shares(scope, "achieved"), legend=f"{_POD} achieved"),
                Line(expr=queries.shares(scope, "intended"), legend=f"{_POD} intended"),
            ],
            columns=3,
            dashed=".* intended$",
        )
    )
    board.with_panel(
        states("Effect", "Whether each pod's weight acts on each device it uses.",
               [Line(expr=queries.effect(scope), legend=f"{_POD} {{{{device}}}}")], _EFFECTS, columns=3)
    )  # fmt: skip
    board.with_panel(
        states("Roles", "What each pod is taken for on each device it uses; pods of no class too.",
               [Line(expr=queries.role(scope), legend=f"{_POD} {{{{device}}}}")], _ROLES, columns=1)
    )  # fmt: skip


def _pressure(board: dashboard.Dashboard, scope: Scope) -> None:
    board.with_row(dashboard.Row("Waits and pressure"))
    board.with_panel(
        graph("I/O pressure", "Share of the time in which a pod waited for I/O (PSI some).", "percentunit",
              [Line(expr=queries.stalls(scope), legend=_POD)], columns=4)
    )  # fmt: skip
    board.with_panel(
        graph("Time in the device", "Mean of a request; a queue behind the device shows here.", "s",
              [Line(expr=queries.device_latency(scope), legend=_DEVICE)], columns=4, log_scale=True)
    )  # fmt: skip
    batch_p95 = queries.latency(scope, queries.BATCH_LATENCY, 0.95, by="namespace, pod, op")
    board.with_panel(
        graph("Time of a batch operation", "95th percentile, from submission to completion.", "s",
              [Line(expr=batch_p95, legend=f"{_POD} {{{{op}}}}")], columns=4, log_scale=True)
    )  # fmt: skip
    board.with_panel(
        graph("In flight", "Requests at the service, operations of the batch job.", "none",
              [Line(expr=queries.requests_in_flight(scope), legend=f"{_POD} requests"),
               Line(expr=queries.batch_in_flight(scope), legend=f"{_POD} operations")], columns=4)
    )  # fmt: skip


def _decisions(board: dashboard.Dashboard, scope: Scope) -> None:
    board.with_row(dashboard.Row("The controller's decisions"))
    board.with_panel(
        graph("Budget", "How many times its profile the device is taken for, and how much of that is used.",
              "none",
              [Line(expr=queries.device_budget(scope), legend=f"{_DEVICE} budget"),
               Line(expr=queries.device_budget_used(scope), legend=f"{_DEVICE} used (share)")], columns=3)
    )  # fmt: skip
    board.with_panel(
        states("State", "What the policy is doing on each device.",
               [Line(expr=queries.device_states(scope), legend=f"{_DEVICE}: {{{{state}}}}")],
               {1: ("yes", GREEN)}, columns=3)
    )  # fmt: skip
    board.with_panel(
        states("Control withdrawn", "Nobody is held back for a while, as holding back did not help.",
               [Line(expr=queries.device_withdrawn(scope), legend=_DEVICE)],
               {0: ("no", GREEN), 1: ("withdrawn", RED)}, columns=3)
    )  # fmt: skip
