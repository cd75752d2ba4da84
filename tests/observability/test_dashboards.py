"""The dashboards' JSON is Grafana's: what its own model would drop is not in it."""

from __future__ import annotations

import json

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from components.observability.dashboards import BOARDS, VARIABLES, Board

CONFIG_MAP_LIMIT_BYTES = 1 << 20
each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)


def through_the_model(text: str) -> object:
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(text))))


@each_board
def test_json_loads_into_the_sdks_model_without_an_unknown_field(board: Board) -> None:
    assert through_the_model(board.to_json()) == json.loads(board.to_json())


@pytest.mark.parametrize("where", ["top", "panel", "target"])
def test_unknown_field_would_be_seen(where: str) -> None:
    document = json.loads(BOARDS[0].to_json())
    panel = next(entry for entry in document["panels"] if entry["type"] == "timeseries")
    {"top": document, "panel": panel, "target": panel["targets"][0]}[where]["colour"] = "blue"

    assert through_the_model(json.dumps(document)) != document


@each_board
def test_variables_are_namespace_node_and_pod_and_all_by_default(board: Board) -> None:
    variables = json.loads(board.to_json())["templating"]["list"]
    assert tuple(variable["name"] for variable in variables) == VARIABLES
    assert all(variable["current"]["value"] == "$__all" and variable["includeAll"] for variable in variables)


@each_board
def test_panels_say_what_they_show_and_have_units_and_places_of_their_own(board: Board) -> None:
    panels = [entry for entry in json.loads(board.to_json())["panels"] if entry["type"] != "row"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(panels)
    assert all(panel["description"].endswith(".") and panel["targets"] for panel in panels)
    graphs = [panel for panel in panels if panel["type"] in ("timeseries", "stat")]
    assert all(panel["fieldConfig"]["defaults"].get("unit") for panel in graphs)
    ids = [entry.get("id") for entry in json.loads(board.to_json())["panels"]]
    assert len(set(ids)) == len(ids)


@each_board
def test_dashboard_fits_into_a_config_map_and_does_not_change_by_itself(board: Board) -> None:
    assert len(board.to_json().encode()) < CONFIG_MAP_LIMIT_BYTES // 4
    assert board.to_json() == board.to_json()
