"""The dashboard DRC-IO Controller: does the agent itself do well on every node."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard

from components.observability import queries
from components.observability.panels import GREEN, RED, YELLOW, Line, graph, listing, number, states
from components.observability.queries import GRAFANA, Scope

UID: Final = "drcio-controller"
TITLE: Final = "DRC-IO Controller"
SERIES: Final = "drcio_ticks_total"
"""Whose labels fill the variables: here namespace and pod are the controller's own."""

_AGENT: Final = "{{node}} {{pod}}"


def with_panels(board: dashboard.Dashboard, scope: Scope = GRAFANA) -> dashboard.Dashboard:
    """Add the panels."""
    _health(board, scope)
    _loop(board, scope)
    _knobs(board, scope)
    _api(board, scope)
    return board


def _health(board: dashboard.Dashboard, scope: Scope) -> None:
    board.with_row(dashboard.Row("Health"))
    on_off = {1: ("yes", GREEN), 0: ("no", RED)}
    board.with_panel(
        states("Answers", "Whether the controller could be scraped.",
               [Line(expr=queries.agent_up(scope), legend=_AGENT)], on_off)
    )  # fmt: skip
    board.with_panel(
        states("Configuration in force is the file's", "No: the file was refused, the last good one holds.",
               [Line(expr=queries.agent_value(scope, "drcio_config_valid"), legend=_AGENT)], on_off)
    )  # fmt: skip
    board.with_panel(
        states("Passive", "Why an agent writes nothing; see the runbook of DrcioAgentStandby.",
               [Line(expr=queries.standby_reasons(scope), legend=f"{_AGENT} {{{{reason}}}}")],
               {0: ("no", GREEN), 1: ("passive", RED)}, columns=1)
    )  # fmt: skip
    for title, description, counter, steps in (
        ("Failed passes", "Passes of the loop that ended in an unexpected error, since the start.",
         "drcio_tick_errors_total", ((None, GREEN), (1, RED))),
        ("Configurations refused", "Since the start.", "drcio_config_errors_total",
         ((None, GREEN), (1, YELLOW))),
        ("Configurations taken", "Since the start.", "drcio_config_reloads_total", ((None, GREEN),)),
        ("Files that could not be parsed", "Kernel files, since the start.",
         "drcio_malformed_files_total", ((None, GREEN), (1, YELLOW))),
        ("Pods discovered", "Since the start.", "drcio_workload_discovery_total", ((None, GREEN),)),
        ("Weights applied", "Written and read back, since the start.",
         "drcio_io_weight_applied_total", ((None, GREEN),)),
    ):  # fmt: skip
        value = Line(expr=queries.agent_value(scope, counter), legend=_AGENT)
        board.with_panel(number(title, description, "none", value, steps=steps))


def _loop(board: dashboard.Dashboard, scope: Scope) -> None:
    board.with_row(dashboard.Row("The loop"))
    board.with_panel(
        graph("Passes", "A second; more than the interval asks for while pods come and go.", "ops",
              [Line(expr=queries.agent_rate(scope, "drcio_ticks"), legend=_AGENT)], columns=3)
    )  # fmt: skip
    board.with_panel(
        graph("Time of a pass", "Mean.", "s",
              [Line(expr=queries.tick_seconds(scope), legend=_AGENT)], columns=3)
    )  # fmt: skip
    board.with_panel(
        graph("Share of a core", "That passes take.", "percentunit",
              [Line(expr=queries.agent_load(scope), legend=_AGENT)], columns=3)
    )  # fmt: skip


def _knobs(board: dashboard.Dashboard, scope: Scope) -> None:
    board.with_row(dashboard.Row("Kernel files"))
    for title, description, counter in (
        ("Writes", "By file.", "drcio_knob_writes"),
        ("Writes that failed", "By file; in a healthy stack none.", "drcio_knob_failures"),
        ("Changed by somebody else", "By file; two agents that fight show here.", "drcio_foreign_changes"),
    ):
        lines = [Line(expr=queries.knob_events(scope, counter), legend="{{file}}")]
        board.with_panel(graph(title, description, "ops", lines, columns=3))
    board.with_panel(
        graph("Time of a write", "Mean since the start, by file; one that freezes the queue waits for it.",
              "s", [Line(expr=queries.write_seconds(scope), legend="{{file}}")], log_scale=True)
    )  # fmt: skip
    board.with_panel(
        graph("Writes that wait", "For a device that has stopped; see the runbook of DrcioDeviceStopped.",
              "s", [Line(expr=queries.device_writes_wait(scope), legend="{{node}} {{name}}")])
    )  # fmt: skip


def _api(board: dashboard.Dashboard, scope: Scope) -> None:
    board.with_row(dashboard.Row("API server and devices"))
    board.with_panel(
        graph("Requests to the API server", "By verb and result.", "reqps",
              [Line(expr=queries.api_requests(scope), legend="{{verb}} {{result}}")])
    )  # fmt: skip
    board.with_panel(
        listing("Devices", "Engine, state of the policy, and where the profile comes from.",
                Line(expr=queries.devices(scope), legend=""), columns=2)
    )  # fmt: skip
