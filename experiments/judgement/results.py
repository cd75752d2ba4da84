"""The contract's `results.json`: a study and its verdict, as machines read them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from experiments.judgement.compare import compare_policies, compares_policies, comparison_json
from experiments.judgement.figures import (
    CpuFigures,
    Health,
    HpFigures,
    LpFigures,
    Paired,
    RunResult,
    ScenarioResult,
    Spread,
    Study,
)
from experiments.judgement.protection import Protection
from experiments.judgement.verdict import Verdict
from experiments.records.jsonfields import JsonObject, JsonValue
from experiments.records.wholefile import write_json

RESULTS_SCHEMA: Final = "drcio.results/1"
RESULTS_FILE: Final = "results.json"

_DECIMALS: Final = 4


def results_json(study: Study, verdict: Verdict) -> JsonObject:
    """Build the document; figures that could not be taken are null.

    An experiment that compares policies has them under `policies` as well.
    """
    policies: JsonObject = (
        {
            "policies": comparison_json(compare_policies(study)),
            "remarks": [remark.text for remark in verdict.remarks],
        }
        if compares_policies(study)
        else {}
    )
    comparison = {
        field.name: _value(getattr(study.comparison, field.name))
        for field in dataclasses.fields(study.comparison)
        if field.name != "paired"
    }
    return {
        "schema": RESULTS_SCHEMA,
        "environment": study.environment,
        "spec": study.spec.to_json(),
        "scenarios": {name: _scenario(result) for name, result in study.scenarios.items()},
        "comparison": {
            **comparison,
            "paired": {name: _paired(paired) for name, paired in study.comparison.paired.items()},
        },
        "criteria": [
            {
                "name": item.name,
                "label": item.label,
                "found": _value(item.found),
                "without_cpu": [_value(figure) for figure in item.without_cpu],
                "limit": item.limit,
                "at_least": item.at_least,
                "met": item.met,
            }
            for item in verdict.criteria
        ],
        "verdict": verdict.outcome,
        "reasons": list(verdict.texts),
        "reason_codes": [reason.code for reason in verdict.reasons],
        "remedies": list(verdict.remedies),
        **policies,
    }


def write_results(directory: Path, document: JsonObject) -> Path:
    """Store the document as `directory`/results.json, whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    return write_json(directory / RESULTS_FILE, document)


def _scenario(result: ScenarioResult) -> JsonObject:
    return {
        "policy": result.policy,
        "hp": _figures(result.hp),
        "lp": _figures(result.lp),
        "spread": {
            "hp": {name: _spread(spread) for name, spread in result.hp_spread.items()},
            "lp": {name: _spread(spread) for name, spread in result.lp_spread.items()},
        },
        "repeats": [_run(run) for run in result.runs],
    }


def _run(run: RunResult) -> JsonObject:
    return {
        "repeat": run.repeat,
        "order": run.order,
        "policy": run.policy,
        "hp": _figures(run.hp),
        "lp": _figures(run.lp),
        "protection": None if run.protection is None else _figures(run.protection),
        "health": _figures(run.health),
        "cpu": _figures(run.cpu),
    }


def _figures(figures: HpFigures | LpFigures | Health | CpuFigures | Protection) -> JsonObject:
    return {field.name: _value(getattr(figures, field.name)) for field in dataclasses.fields(figures)}


def _spread(spread: Spread) -> JsonObject:
    return {"min": _value(spread.min), "max": _value(spread.max), "mad": _value(spread.mad)}


def _paired(paired: Paired) -> JsonObject:
    return {
        "median": _value(paired.median),
        "min": _value(paired.min),
        "max": _value(paired.max),
        "ratios": [_value(ratio) for ratio in paired.ratios],
    }


def _value(value: object) -> JsonValue:
    """Round what is measured; a figure that is no number is null, as JSON knows neither nan nor inf."""
    if isinstance(value, float):
        return round(value, _DECIMALS) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _value(entry) for name, entry in value.items()}
    raise TypeError(f"{type(value).__name__} has no place in results.json")
