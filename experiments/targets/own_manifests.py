"""Read a user's own Pod manifests, and refuse what no node would run before anything is set up."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast, get_args

import yaml

from drcio_controller.config import DEFAULT_CLASSES, PRIORITY_LABEL
from drcio_controller.kube.jsontypes import JsonObject as KubeObject
from experiments.errors import SpecError
from experiments.records.jsonfields import JsonObject
from experiments.records.record import Role
from experiments.workloads import CONTROLLER_POD, ROLE_ANNOTATION, Workload
from node_twin.errors import TwinError
from node_twin.kubelet.check import refusals
from node_twin.kubelet.manifest import RestartPolicy, parse_manifest
from node_twin.layout import NAMESPACE, NODE_NAME, container_environment

_ROLE_OF_PRIORITY: Final[Mapping[str, Role]] = {"high": "hp", "low": "lp"}
_MANIFESTS: Final = (".yaml", ".yml", ".json")


class _Wrong(Exception):
    """One thing that is wrong with one Pod."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def read_workloads(folder: Path) -> tuple[Workload, ...]:
    """Read every Pod of a folder's YAML and JSON files, with the part it plays.

    The part is the annotation `experiments.drcio.io/role`; without it high priority is hp, low is lp.
    Raises SpecError with everything that is wrong, by file and field.
    """
    if not folder.is_dir():
        raise SpecError(f"--workloads {folder}: no such folder", hint="give a folder of Pod manifests")
    found: dict[str, Workload] = {}
    wrong: list[_Wrong] = []
    for path in sorted(path for path in folder.iterdir() if path.suffix in _MANIFESTS):
        for document in _documents(path):
            problems = _problems(document)
            wrong += [_Wrong(f"{path}: {problem.message}", problem.hint) for problem in problems]
            if problems:
                continue
            workload = _workload(cast(KubeObject, document))
            if workload.name in found:
                wrong.append(_Wrong(f"{path}: pod {workload.name!r} is there twice; expected unique names"))
            found[workload.name] = workload
    if wrong:
        raise SpecError(
            "\n".join(problem.message for problem in wrong),
            hint="\nhint: ".join(dict.fromkeys(problem.hint for problem in wrong if problem.hint)) or None,
        )
    if not found:
        raise SpecError(
            f"--workloads {folder}: no Pod in it; expected *.yaml or *.json",
            hint="docs/how-to/bring-your-own-workload.md has an example",
        )
    return tuple(found.values())


def _documents(path: Path) -> list[object]:
    try:
        found = [document for document in yaml.safe_load_all(path.read_text()) if document]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    # YAML has more types than JSON, which is what an API server takes; a date is a text there.
    return cast("list[object]", json.loads(json.dumps(found, default=str)))


def _problems(document: object) -> list[TwinError | _Wrong]:
    if not isinstance(document, dict) or document.get("kind") != "Pod":
        kind = document.get("kind") if isinstance(document, dict) else type(document).__name__
        return [
            _Wrong(
                f"kind is {kind!r}; expected Pod", "of a Deployment or Job, give the pod template as a Pod"
            )
        ]
    refused = refusals(document, base_env=container_environment())
    return list(refused) if refused else list(_misplaced(document))


def _misplaced(document: KubeObject) -> list[_Wrong]:
    """Return what a node would run, but not as a part of an experiment."""
    manifest = parse_manifest(document)
    where = f"pod {manifest.name}"
    wrong: list[_Wrong] = []
    priority = manifest.labels.get(PRIORITY_LABEL)
    if priority is not None and priority not in DEFAULT_CLASSES:
        near = difflib.get_close_matches(priority, DEFAULT_CLASSES, n=1, cutoff=0.5)
        classes = ", ".join(DEFAULT_CLASSES)
        wrong.append(
            _Wrong(
                f"{where}: label {PRIORITY_LABEL} is {priority!r}; expected one of {classes}",
                f"{priority}: did you mean {near[0]}?" if near else None,
            )
        )
    role = manifest.annotations.get(ROLE_ANNOTATION)
    roles: tuple[str, ...] = get_args(Role)
    if role is not None and role not in roles:
        wrong.append(
            _Wrong(f"{where}: annotation {ROLE_ANNOTATION} is {role!r}; expected one of {', '.join(roles)}")
        )
    if role == "load" and manifest.restart_policy is RestartPolicy.ALWAYS:
        wrong.append(
            _Wrong(
                f"{where}: spec.restartPolicy is Always (the default); a load source is expected to end",
                "restartPolicy: Never",
            )
        )
    metadata = cast(KubeObject, document["metadata"])
    for field, found, only in (
        ("metadata.namespace", metadata.get("namespace"), NAMESPACE),
        ("spec.nodeName", manifest.node_name or None, NODE_NAME),
    ):
        if found not in (None, only):
            wrong.append(_Wrong(f"{where}: {field} is {found!r}; expected none, or {only}"))
    if manifest.name == CONTROLLER_POD:
        wrong.append(_Wrong(f"{where}: metadata.name is the controller's own; expected another"))
    return wrong


def _workload(document: KubeObject) -> Workload:
    manifest = parse_manifest(document)
    role = manifest.annotations.get(ROLE_ANNOTATION)
    if role is None:
        role = _ROLE_OF_PRIORITY.get(manifest.labels.get(PRIORITY_LABEL, ""), "other")
    metadata = cast(KubeObject, document["metadata"])
    metadata["namespace"] = NAMESPACE
    return Workload(role=cast(Role, role), manifest=cast(JsonObject, document))
