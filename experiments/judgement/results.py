"""The contract's `results.json`: a study and its verdict, as machines read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import msgspec

from experiments.judgement.compare import TIE_TOLERANCE, PolicyComparison, compare_policies, compares_policies
from experiments.judgement.figures import ScenarioResult, Study
from experiments.judgement.verdict import Verdict
from experiments.records.jsonfields import JsonObject, JsonValue, dump
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
    return {
        "schema": RESULTS_SCHEMA,
        "environment": study.environment,
        "spec": study.spec.to_json(),
        "scenarios": {name: _scenario(result) for name, result in study.scenarios.items()},
        "comparison": _figures(study.comparison),
        "criteria": [{**_figures(item, without=("missed",)), "met": item.met} for item in verdict.criteria],
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


def comparison_json(comparison: PolicyComparison) -> JsonObject:
    """Turn the comparison into the `policies` part of results.json."""
    policies = [
        {**dump(result), "paired": {name: pairs.ratios for name, pairs in result.paired.items()}}
        for result in comparison.policies
    ]
    head = {"tolerance": TIE_TOLERANCE, "sentence": comparison.sentence}
    return cast(JsonObject, _plain({**head, **dump(comparison), "policies": policies}))


def _scenario(result: ScenarioResult) -> JsonObject:
    return {
        "policy": result.policy,
        "hp": _figures(result.hp),
        "lp": _figures(result.lp),
        "spread": _plain({"hp": result.hp_spread, "lp": result.lp_spread}),
        "repeats": [_figures(run, without=("scenario",)) for run in result.runs],
    }


def _figures(figures: object, *, without: Sequence[str] = ()) -> JsonObject:
    """Return an object's fields, each by its name."""
    return {name: _plain(value) for name, value in dump(figures).items() if name not in without}


def _plain(value: JsonValue | Mapping[str, object]) -> JsonValue:
    """Round what is measured; a figure that is no number is null, as JSON knows neither nan nor inf."""
    plain = msgspec.to_builtins(value)
    if isinstance(plain, float):
        return round(plain, _DECIMALS) if math.isfinite(plain) else None
    if isinstance(plain, Mapping):
        return {name: _plain(entry) for name, entry in plain.items()}
    if isinstance(plain, list | tuple):
        return [_plain(item) for item in plain]
    return cast(JsonValue, plain)
