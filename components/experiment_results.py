"""The ConfigMap that an experiment's Job fills, how it is read back, and what stack outputs it comes to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Final, cast

import pulumi
import pulumi_kubernetes as k8s

from components.kubernetes import Destination, Tree, in_cluster
from experiment_runner.manifest import RESULTS_KEY

SCHEMA: Final = "drcio.results/1"
VERDICTS: Final = ("pass", "fail", "inconclusive", "invalid")
"""What experiments/judgement/verdict.py judges."""
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

_AGAIN: Final = "to measure again: pulumi config set --path 'drcio:experiment.run' NAME, then pulumi up"
FILLED_BY: Final = "drcio.io/filled-by"
"""Annotation of the results: the Job's uid."""


def results_map(
    parent: pulumi.Resource, name: str, metadata: k8s.meta.v1.ObjectMetaArgs, where: Destination
) -> k8s.core.v1.ConfigMap:
    """Make the ConfigMap that the Job fills; the next `pulumi up` must not empty it again."""
    return k8s.core.v1.ConfigMap(
        f"{name}-results",
        metadata=metadata,
        opts=pulumi.ResourceOptions.merge(
            in_cluster(parent, where), pulumi.ResourceOptions(ignore_changes=["data", "binaryData"])
        ),
    )


def read_back(
    parent: pulumi.Resource,
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    job: k8s.batch.v1.Job,
    where: Destination,
) -> k8s.core.v1.ConfigMapPatch:
    """Read the ConfigMap once the Job has run.

    A patch's outputs are the whole object's, read when the patch is made or changes, which is when
    another Job has run. (What is only read, with `ConfigMap.get`, changes at every first refresh.)
    """
    return k8s.core.v1.ConfigMapPatch(
        f"{name}-read",
        metadata=k8s.meta.v1.ObjectMetaPatchArgs(
            name=metadata.name,
            namespace=metadata.namespace,
            annotations={FILLED_BY: job.metadata.apply(lambda known: known.uid or "")},
        ),
        # It goes with its ConfigMap. A patch that is taken back wants the namespace to be there still.
        opts=pulumi.ResourceOptions.merge(
            in_cluster(parent, where, job), pulumi.ResourceOptions(retain_on_delete=True)
        ),
    )


def failure_of(status: object) -> str | None:
    """Return why a Job failed, from its status; None where it did not."""
    for kind, reason, message in _conditions(status):
        if kind in ("Failed", "FailureTarget"):
            return f"{reason}: {message}" if message else reason
    return None


def succeeded(status: object) -> bool:
    """Return whether a Job has ended well, from its status."""
    return any(kind in ("Complete", "SuccessCriteriaMet") for kind, _, _ in _conditions(status))


def _conditions(status: object) -> Iterable[tuple[str, str, str]]:
    """Yield type, reason and message of each condition."""
    found = status.get("conditions") if isinstance(status, Mapping) else getattr(status, "conditions", None)
    for condition in found or ():
        yield _member(condition, "type"), _member(condition, "reason"), _member(condition, "message")


def _member(condition: object, name: str) -> str:
    value = condition.get(name) if isinstance(condition, Mapping) else getattr(condition, name, None)
    return str(value or "")


def summary(
    data: Mapping[str, str] | None, scenario: str, failure: str | None = None, *, complete: bool = False
) -> dict[str, object]:
    """Return the outputs for a results ConfigMap's data; None for whatever is not there (yet).

    A Job that failed and left no results is an invalid experiment, for the reason given; so is one that is
    `complete` and left none, or something else: anybody may write a ConfigMap.
    """
    text = (data or {}).get(RESULTS_KEY)
    results: Tree = {}
    if text:
        results = _document(text)
    elif failure is not None:
        results = _invalid(f"the experiment's Job failed: {failure}")
    elif complete:
        results = _invalid(f"the experiment's Job ended, and its ConfigMap has no {RESULTS_KEY}; {_AGAIN}")
    measured = _below(results, "scenarios", scenario)
    hp, lp = _below(measured, "hp"), _below(measured, "lp")
    return {
        **{field: _number(hp.get(field)) for field in HP_FIELDS},
        "lp_mib_s": _number(lp.get("mib_s")),
        "verdict": results.get("verdict"),
        "reasons": results.get("reasons"),
        "results": results or None,
    }


def field_of(ended: Mapping[str, object], *, field: str, scenario: str) -> object:
    """Return one of the outputs for what a Job left: `data`, and its `status`."""
    data, status = ended["data"], ended["status"]
    texts = cast(Mapping[str, str], data) if isinstance(data, Mapping) else None
    return summary(texts, scenario, failure_of(status), complete=succeeded(status))[field]


def _document(text: str) -> Tree:
    """Return what the Job wrote; an invalid experiment where that is something else."""
    try:
        found: object = json.loads(text, parse_constant=_no_number)
    except ValueError as error:
        return _other(f"not JSON: {error}")
    if not isinstance(found, Mapping):
        return _other(f"a JSON {type(found).__name__}")
    if found.get("schema") != SCHEMA:
        return _other(f"of schema {found.get('schema')!r}")
    verdict, reasons = found.get("verdict"), found.get("reasons")
    if verdict not in VERDICTS:
        return _other(f"of verdict {verdict!r}")
    if not isinstance(reasons, list) or not all(isinstance(reason, str) for reason in reasons):
        return _other(f"of reasons {reasons!r}")
    return cast(Tree, found)


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _other(found: str) -> Tree:
    return _invalid(f"what the experiment left as {RESULTS_KEY} is {found}; expected {SCHEMA}; {_AGAIN}")


def _invalid(reason: str) -> Tree:
    return {"verdict": "invalid", "reasons": [reason]}


def _number(value: object) -> object:
    return value if isinstance(value, Real) and not isinstance(value, bool) else None


def _below(tree: Tree, *names: str) -> Tree:
    for name in names:
        found = tree.get(name)
        tree = found if isinstance(found, Mapping) else {}
    return tree
