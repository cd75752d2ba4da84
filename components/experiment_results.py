"""The stack outputs that an experiment's ConfigMap comes to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

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


def summary(data: Mapping[str, str] | None, scenario: str) -> dict[str, object]:
    """Return the outputs for a results ConfigMap's data; None for whatever is not there (yet)."""
    text = (data or {}).get(RESULTS_KEY)
    results: Tree = json.loads(text) if text else {}
    measured = _below(results, "scenarios", scenario)
    hp, lp = _below(measured, "hp"), _below(measured, "lp")
    return {
        **{field: hp.get(field) for field in HP_FIELDS},
        "lp_mib_s": lp.get("mib_s"),
        "verdict": results.get("verdict"),
        "reasons": results.get("reasons"),
        "results": results or None,
    }


def field_of(data: Mapping[str, str] | None, *, field: str, scenario: str) -> object:
    """Return one of the outputs."""
    return summary(data, scenario)[field]


def _below(tree: Tree, *names: str) -> Tree:
    for name in names:
        found = tree.get(name)
        tree = found if isinstance(found, Mapping) else {}
    return tree
