"""The stack outputs that an experiment's ConfigMap comes to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, cast

from components.kubernetes import Tree
from experiment_runner.manifest import RESULTS_KEY

HP_FIELDS: Final = (
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "fetch_p95_ms",
    "offered_rps",
    "achieved_rps",
    "errors",
)

OUTPUT_FIELDS: Final = (*HP_FIELDS, "lp_mib_s", "verdict", "reasons", "results")


def failure_of(status: object) -> str | None:
    """Return why a Job failed, from its status; None where it did not."""
    conditions = (
        status.get("conditions") if isinstance(status, Mapping) else getattr(status, "conditions", None)
    )
    for condition in conditions or ():
        kind, reason, message = (_member(condition, name) for name in ("type", "reason", "message"))
        if kind in ("Failed", "FailureTarget"):
            return f"{reason}: {message}" if message else reason
    return None


def _member(condition: object, name: str) -> str:
    value = condition.get(name) if isinstance(condition, Mapping) else getattr(condition, name, None)
    return str(value or "")


def summary(data: Mapping[str, str] | None, scenario: str, failure: str | None = None) -> dict[str, object]:
    """Return the outputs for a results ConfigMap's data; None for whatever is not there (yet).

    A Job that failed and left no results is an invalid experiment, for the reason given.
    """
    text = (data or {}).get(RESULTS_KEY)
    results: Tree = json.loads(text) if text else {}
    measured = _below(results, "scenarios", scenario)
    hp, lp = _below(measured, "hp"), _below(measured, "lp")
    if failure is not None and not results:
        results = {"verdict": "invalid", "reasons": [f"the experiment's Job failed: {failure}"]}
    return {
        **{field: hp.get(field) for field in HP_FIELDS},
        "lp_mib_s": lp.get("mib_s"),
        "verdict": results.get("verdict"),
        "reasons": results.get("reasons"),
        "results": results or None,
    }


def field_of(ended: Mapping[str, object], *, field: str, scenario: str) -> object:
    """Return one of the outputs for what a Job left: `data`, and `failure` where it failed."""
    data, failure = ended["data"], ended["failure"]
    texts = cast(Mapping[str, str], data) if isinstance(data, Mapping) else None
    return summary(texts, scenario, str(failure) if failure else None)[field]


def _below(tree: Tree, *names: str) -> Tree:
    for name in names:
        found = tree.get(name)
        tree = found if isinstance(found, Mapping) else {}
    return tree
