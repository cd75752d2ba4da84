"""Every panel, rule and documented query returns data of a healthy stack, with the labels it is shown by."""

from __future__ import annotations

import math
import re
from functools import reduce
from pathlib import Path
from typing import cast

import httpx
import pytest
from grafana_foundation_sdk.models import prometheus as query_models

from components.observability import controller_board
from components.observability.dashboards import BOARDS
from experiments.metrics.prometheus import Server
from experiments.metrics.queries import QUERIES
from tests.observability.rig import AGENT, HP, LP, NAMESPACE, NODE, SYSTEM, Stack
from tests.prometheus import series_of
from tests.waits import eventually

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*(DOCS / "runbooks").glob("*.md"), DOCS / "reference" / "metrics.md"])
DOCUMENTED = [
    pytest.param(query.strip(), id=f"{page.stem}-{place}")
    for page in PAGES
    for place, query in enumerate(re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL))
]
TARGETS = [
    pytest.param(
        board.uid, target.expr, target.legend_format or "", id=f"{board.uid}: {panel.title} {target.ref_id}"
    )
    for board in BOARDS
    for panel in board.build().panels or []
    for target in getattr(panel, "targets", None) or []
    if isinstance(target, query_models.Dataquery)
]
CHOSEN = {
    controller_board.UID: {"namespace": SYSTEM, "node": NODE, "pod": AGENT},
}
CHOSEN_BY_DEFAULT = {"namespace": NAMESPACE, "node": NODE, "pod": f"{HP}|{LP}"}
Live = tuple[Server, Path]


def filled_in(expr: str, values: dict[str, str]) -> str:
    """Put values in the place of a dashboard's variables."""
    for name, value in {**values, "__rate_interval": "10s"}.items():
        expr = expr.replace(f"${name}", value)
    assert "$" not in expr
    return expr


def _show_label(legend: str, label: tuple[str, str]) -> str:
    return legend.replace(f"{{{{{label[0]}}}}}", label[1])


def labels_and_values(server: Server, promql: str) -> list[tuple[dict[str, str], float]]:
    return [
        (cast("dict[str, str]", series["metric"]), float(cast("list[str]", series["value"])[1]))
        for series in series_of(server, promql)
    ]


def known(server: Server, promql: str) -> list[tuple[dict[str, str], float]]:
    """Ask until a value is known: a scrape that was late leaves none until the next one."""
    found: list[tuple[dict[str, str], float]] = []

    def is_known() -> bool:
        found[:] = labels_and_values(server, promql)
        return any(not math.isnan(value) for _, value in found)

    eventually(is_known, promql, every_s=0.5)
    return found


@pytest.mark.parametrize("choice", ["all", "chosen"])
@pytest.mark.parametrize(("uid", "expr", "legend"), TARGETS)
def test_every_panel_shows_data_under_its_legend(
    prometheus: Live, uid: str, expr: str, legend: str, choice: str
) -> None:
    chosen = CHOSEN.get(uid, CHOSEN_BY_DEFAULT)
    values = chosen if choice == "chosen" else dict.fromkeys(chosen, ".*")

    series = known(prometheus[0], filled_in(expr, values))

    for labels, _ in series:
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= labels.keys()
        for name in labels.keys() & chosen.keys():
            assert choice == "all" or re.fullmatch(chosen[name], labels[name])
    names = [reduce(_show_label, labels.items(), legend) for labels, _ in series]
    assert len(set(names)) == len(names) or not legend, "two series under one name"


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_variable_offers_what_runs(prometheus: Live, board: object) -> None:
    built = next(entry for entry in BOARDS if entry is board).build()
    assert built.templating.list_val is not None
    offered = {}
    for variable in built.templating.list_val:
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", str(variable.query))
        assert match is not None
        answer = httpx.get(
            f"{prometheus[0].url}/api/v1/label/{match[2]}/values",
            params={"match[]": filled_in(match[1], dict.fromkeys(("namespace", "node", "pod"), ".*"))},
        )
        offered[variable.name] = set(answer.json()["data"])

    if built.uid == controller_board.UID:
        assert offered == {"namespace": {SYSTEM}, "node": {NODE}, "pod": {AGENT}}
    else:
        assert offered == {"namespace": {NAMESPACE}, "node": {NODE}, "pod": {HP, LP}}


@pytest.mark.parametrize("query", DOCUMENTED)
def test_every_documented_query_returns_data(prometheus: Live, query: str) -> None:
    eventually(lambda: bool(labels_and_values(prometheus[0], query)), query, every_s=0.5)


@pytest.mark.parametrize("promql", QUERIES.values(), ids=QUERIES)
def test_every_query_of_explore_returns_data(prometheus: Live, promql: str) -> None:
    assert known(prometheus[0], promql)


def test_every_recording_rule_has_data_and_every_rule_is_well(prometheus: Live) -> None:
    groups = httpx.get(f"{prometheus[0].url}/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []
    recorded = {rule["name"] for rule in rules if rule["type"] == "recording"}
    assert recorded
    assert {name for name in recorded if not series_of(prometheus[0], name)} == set()


def test_controllers_series_are_about_the_pods_they_name(prometheus: Live) -> None:
    weights = {labels["pod"]: value for labels, value in labels_and_values(prometheus[0], "drcio_io_weight")}
    assert weights == {HP: 1000, LP: 10}
    ((labels, _),) = labels_and_values(prometheus[0], "drcio_config_valid")
    assert (labels["namespace"], labels["pod"], labels["node"]) == (SYSTEM, AGENT, NODE)


def test_reference_names_every_metric_that_is_exposed_and_no_other(stack: Stack) -> None:
    exposed = {
        name.removesuffix("_total") if kind == "counter" else name
        for address in (stack.service, stack.batch, stack.agent)
        for name, kind in re.findall(
            r"^# TYPE (\S+) (\w+)", httpx.get(f"http://{address}/metrics").text, re.MULTILINE
        )
        if not name.endswith("_created")
    }
    text = (DOCS / "reference" / "metrics.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == exposed
