"""Grafana's dashboards as JSON, each with variables for namespace, node and pod."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from components.observability import controller_board, overview
from components.observability.panels import DATASOURCE, Rows

TAG: Final = "drcio"
SCHEMA_VERSION: Final = 39
"""Grafana 11's; newer ones migrate it when they load it."""
VARIABLES: Final = ("namespace", "node", "pod")


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    series: str
    """A regular expression of metric names whose labels fill the variables."""
    rows: Callable[[], Rows]

    def build(self) -> models.Dashboard:
        """Return Grafana's own model of it."""
        board = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .tags([TAG])
            .time("now-30m", "now")
            .refresh("10s")
            .timezone("browser")
            .readonly()
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .link(
                dashboard.DashboardLink("DRC-IO")
                .type(models.DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .keep_time(True)
            )
        )
        matchers: list[str] = []
        for name in VARIABLES:
            board.with_variable(_variable(name, self.series, matchers))
            matchers.append(f'{name}=~"${name}"')
        for title, panels in self.rows().items():
            board.with_row(dashboard.Row(title))
            for panel in panels:
                board.with_panel(panel)
        built = board.build()
        built.schema_version = SCHEMA_VERSION
        for place, drawn in enumerate(built.panels or [], start=1):
            drawn.id_val = place
        return built

    def to_json(self) -> str:
        """Return the text that Grafana loads."""
        return JSONEncoder(indent=1, sort_keys=True).encode(self.build())


BOARDS: Final = tuple(
    Board(uid=module.UID, title=module.TITLE, series=module.SERIES, rows=module.rows)
    for module in (overview, controller_board)
)


def _variable(name: str, series: str, matchers: list[str]) -> dashboard.QueryVariable:
    """Return a variable that offers what the ones before it leave."""
    selector = ", ".join([f'__name__=~"{series}"', *matchers])
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(DATASOURCE)
        .query(f"label_values({{{selector}}}, {name})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )
