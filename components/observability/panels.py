"""How an expression is drawn: a few kinds of panel, all of one look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as query_models

from components.observability.queries import GRAFANA

SCRAPE_INTERVAL: Final = "5s"
"""As components/monitors.py has it: `$__rate_interval` is at least four of them."""

DATASOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="prometheus")
"""The uid that kube-prometheus-stack gives its Prometheus in Grafana."""

GREEN, YELLOW, RED, GREY = "green", "yellow", "red", "#8e8e8e"

Panel = timeseries.Panel | stat.Panel | statetimeline.Panel | table.Panel
Rows = Mapping[str, Sequence[Panel]]
"""A dashboard's panels by the title of the row that they stand in."""

_WIDTH: Final = 24
_HEIGHT: Final = 8
_T = TypeVar("_T", timeseries.Panel, stat.Panel, statetimeline.Panel, table.Panel)


@dataclass(frozen=True, slots=True)
class Line:
    """A query and the name of its series: `{{label}}` stands for a label's value."""

    query: str
    """As `queries` has it; the dashboard's variables decide what it is about."""
    legend: str = ""


def graph(
    title: str,
    description: str,
    unit: str,
    lines: Sequence[Line],
    *,
    columns: int = 2,
    log_scale: bool = False,
    dashed: str = "",
) -> timeseries.Panel:
    """Draw values over time. `dashed` is a regular expression of series that are limits, not measurements."""
    panel = (
        _common(timeseries.Panel(), title, description, lines, columns)
        .unit(unit)
        .line_width(2)
        .fill_opacity(8)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.TABLE)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    )
    if log_scale:
        logarithmic = common.ScaleDistributionConfig().type(common_models.ScaleDistribution.LOG).log(10)
        panel.scale_distribution(logarithmic)
    else:
        panel.min(0)
    if dashed:
        panel.override_by_regexp(
            dashed,
            [
                models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}),
                models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": RED}),
                models.DynamicConfigValue("custom.fillOpacity", 0),
            ],
        )
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    line: Line,
    *,
    steps: Sequence[tuple[float | None, str]] = ((None, GREEN),),
    columns: int = 6,
) -> stat.Panel:
    """Show the present value. `steps` colour it from a value on; the first has none."""
    return (
        _common(stat.Panel(), title, description, [line], columns, height=4)
        .unit(unit)
        .thresholds(
            dashboard.ThresholdsConfig()
            .mode(models.ThresholdsMode.ABSOLUTE)
            .steps([models.Threshold(value=value, color=color) for value, color in steps])
        )
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    )


def words(title: str, description: str, line: Line, *, if_none: str) -> stat.Panel:
    """Show the names of the series that exist, not their values; `if_none` where there is none."""
    panel = number(title, description, "none", line, columns=6).no_value(if_none)
    return panel.text_mode(common_models.BigValueTextMode.NAME)


def states(
    title: str,
    description: str,
    lines: Sequence[Line],
    names: Mapping[int, tuple[str, str]],
    *,
    columns: int = 2,
) -> statetimeline.Panel:
    """Draw which of a few named states held when; `names` gives each value its word and colour."""
    options = {
        str(value): models.ValueMappingResult(text=text, color=color, index=place)
        for place, (value, (text, color)) in enumerate(names.items())
    }
    return (
        _common(statetimeline.Panel(), title, description, lines, columns)
        .mappings([models.ValueMap(options=options)])
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .show_value(common_models.VisibilityMode.AUTO)
        .merge_values(True)
        .row_height(0.85)
        .line_width(0)
        .fill_opacity(70)
    )


def listing(title: str, description: str, line: Line, *, columns: int = 1) -> table.Panel:
    """List the labels of a query's series."""
    panel = _common(table.Panel(), title, description, [], columns)
    panel.with_target(_query(line, "A").instant().format(query_models.PromQueryFormat.TABLE))
    hidden = {"Time": True, "Value": True}
    return panel.with_transformation(
        models.DataTransformerConfig(id_val="organize", options={"excludeByName": hidden})
    )


def _common(
    panel: _T, title: str, description: str, lines: Sequence[Line], columns: int, *, height: int = _HEIGHT
) -> _T:
    panel.title(title).description(description).datasource(DATASOURCE)
    panel.height(height).span(_WIDTH // columns)
    for place, line in enumerate(lines):
        panel.with_target(_query(line, chr(ord("A") + place)))
    return panel


def _query(line: Line, ref_id: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(GRAFANA.of(line.query)).legend_format(line.legend).ref_id(ref_id)
    return query.datasource(DATASOURCE).interval(SCRAPE_INTERVAL)
