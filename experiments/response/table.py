"""The answers as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from rich.console import Console

from experiments.records.jsonfields import JsonObject
from experiments.response.figures import FETCH_FACTOR, REQUEST_FACTOR
from experiments.tables import plain_table

_NEVER: Final = "not seen"


def print_response(console: Console, document: JsonObject) -> None:
    """Print every figure with the bound that the project sets itself."""
    figures = cast("Mapping[str, object]", document["figures"])
    target = cast("Mapping[str, float]", figures["target_ms"])
    console.print(
        f"batch job alone: {figures['device_speed_mib_s']:.1f} MiB/s. The service's targets: request "
        f"{target['request']:.1f} ms, disk fetch {target['fetch']:.1f} ms, {REQUEST_FACTOR:g} and "
        f"{FETCH_FACTOR:g} times its p95 beside the batch job on another volume"
    )
    table = plain_table(["what happens"], ("measured", "wanted"))
    table.columns[0].overflow, table.columns[1].no_wrap = "fold", True
    for what, measured, wanted in _rows(figures):
        table.add_row(what, measured, wanted)
    console.print(table)


def _rows(figures: Mapping[str, object]) -> list[tuple[str, str, str]]:
    labels = cast("Mapping[str, float | None]", figures["label_to_weight_ms"])
    rows = [
        *_both("batch job's first I/O", figures["back_in_target_s"], "2 s"),
        ("service stops: batch job at full speed", _each(figures["lp_at_full_speed_s"]), "3 s"),
        *_both("service comes back", figures["hp_back_in_target_s"], ""),
        (
            f"label changed {labels['count']:.0f} times: weight applied",
            f"p50 {_ms(labels['p50'])}, p99 {_ms(labels['p99'])}",
            "p99 250 ms",
        ),
    ]
    for change in cast("Sequence[Mapping[str, object]]", figures["volume_changes"]):
        what = f"volume becomes {change['volume']}"
        rows += _both(what, [change["hp_inside_after_s"]], "30 s")
        rows.append((f"{what}: batch job at 80% of its speed", _each([change["lp_settled_after_s"]]), "30 s"))
    errors = cast("Mapping[str, float] | None", figures["share_errors"])
    shares = _NEVER if errors is None else ", ".join(f"{name} {error:+.0%}" for name, error in errors.items())
    rows.append(("classes 1000/100/10 saturate: share against intended", shares, "within 15%"))
    return rows


def _both(what: str, values: object, wanted: str) -> list[tuple[str, str, str]]:
    seen = cast("Sequence[Mapping[str, float | None]]", values)
    return [
        (f"{what}: {part} in its target", _each([value[part] for value in seen]), wanted)
        for part in ("request", "fetch")
    ]


def _each(values: object) -> str:
    return ", ".join(
        _NEVER if value is None else f"{value:.1f} s" for value in cast("Sequence[float | None]", values)
    )


def _ms(value: float | None) -> str:
    return _NEVER if value is None else f"{value:.0f} ms"
