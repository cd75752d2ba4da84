"""The dashboard DRC-IO Controller: does the agent itself do well on every node."""

from __future__ import annotations

from typing import Final

from components.observability import queries
from components.observability.panels import GREEN, RED, YELLOW, Line, Rows, graph, listing, number, states

UID: Final = "drcio-controller"
TITLE: Final = "DRC-IO Controller"
SERIES: Final = "drcio_ticks_total"
"""Whose labels fill the variables: here namespace and pod are the controller's own."""

_AGENT: Final = "{{node}} {{pod}}"
_ON_OFF: Final = {1: ("yes", GREEN), 0: ("no", RED)}
_SINCE_START: Final = (
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
)  # fmt: skip
_KNOB_EVENTS: Final = (
    ("Writes", "By file.", "drcio_knob_writes"),
    ("Writes that failed", "By file; in a healthy stack none.", "drcio_knob_failures"),
    ("Changed by somebody else", "By file; two agents that fight show here.", "drcio_foreign_changes"),
)


def rows() -> Rows:
    """Return the panels."""
    return {
        "Health": (
            states("Answers", "Whether the controller could be scraped.",
                   [Line(queries.AGENT_UP, _AGENT)], _ON_OFF),
            states("Configuration in force is the file's",
                   "No: the file was refused, the last good one holds.",
                   [Line(queries.agent_value("drcio_config_valid"), _AGENT)], _ON_OFF),
            states("Passive", "Why an agent writes nothing; see the runbook of DrcioAgentStandby.",
                   [Line(queries.STANDBY_REASONS, f"{_AGENT} {{{{reason}}}}")],
                   {0: ("no", GREEN), 1: ("passive", RED)}, columns=1),
            *(number(title, description, "none", Line(queries.agent_value(counter), _AGENT), steps=steps)
              for title, description, counter, steps in _SINCE_START),
        ),
        "The loop": (
            graph("Passes", "A second; more than the interval asks for while pods come and go.", "ops",
                  [Line(queries.AGENT_TICKS, _AGENT)], columns=3),
            graph("Time of a pass", "Mean.", "s", [Line(queries.TICK_SECONDS, _AGENT)], columns=3),
            graph("Share of a core", "That passes take.", "percentunit",
                  [Line(queries.AGENT_LOAD, _AGENT)], columns=3),
        ),
        "Kernel files": (
            *(graph(title, description, "ops", [Line(queries.knob_events(counter), "{{file}}")], columns=3)
              for title, description, counter in _KNOB_EVENTS),
            graph("Time of a write",
                  "Mean since the start, by file; one that freezes the queue waits for it.", "s",
                  [Line(queries.WRITE_SECONDS, "{{file}}")], log_scale=True),
            graph("Writes that wait", "For a device that has stopped; see the runbook of DrcioDeviceStopped.",
                  "s", [Line(queries.DEVICE_WRITES_WAIT, "{{node}} {{name}}")]),
        ),
        "API server and devices": (
            graph("Requests to the API server", "By verb and result.", "reqps",
                  [Line(queries.API_REQUESTS, "{{verb}} {{result}}")]),
            listing("Devices", "Engine, state of the policy, and where the profile comes from.",
                    Line(queries.DEVICES), columns=2),
        ),
    }  # fmt: skip
