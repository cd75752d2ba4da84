"""Stands for the experiment's container: fills the results ConfigMap as the real one does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from experiment_runner.manifest import RESULTS_KEY
from tests.engine.kube import Kube, Object

HP = {
    "p50_ms": 4.0,
    "p95_ms": 9.0,
    "p99_ms": 14.0,
    "max_ms": 20.0,
    "fetch_p50_ms": 1.0,
    "fetch_p95_ms": 2.0,
    "fetch_p99_ms": 3.0,
    "offered_rps": 20.0,
    "achieved_rps": 20.0,
    "requests": 1200,
    "errors": 0,
}


@dataclass
class Runner:
    """Writes a passing result of what it was asked to measure, and which pods ran meanwhile."""

    kube: Kube
    beside: Callable[[], list[str]]
    """Apps of the pods that run now."""

    def publish(self, pod: Object) -> None:
        """Do what `experiments.job` ends with: patch the ConfigMap that the pod was given."""
        arguments = arguments_of(pod)
        spec: Mapping[str, Any] = json.loads(arguments["spec"])
        scenario = spec["scenarios"][0]
        lp = {"mib_s": 100.0, "ops_s": 100.0, "operations": 1000} if scenario["with_lp"] else {}
        document = {
            "schema": "drcio.results/1",
            "environment": {"target": "cluster", "beside": sorted(set(self.beside()))},
            "spec": spec,
            "scenarios": {scenario["name"]: {"hp": HP, "lp": lp, "repeats": [{"hp": HP, "lp": lp}]}},
            "comparison": {},
            "verdict": "pass",
            "reasons": [],
        }
        path = f"/api/v1/namespaces/{arguments['namespace']}/configmaps/{arguments['config-map']}"
        self.kube.patch(path, {"data": {RESULTS_KEY: json.dumps(document)}})


def arguments_of(pod: Object) -> dict[str, str]:
    """Return the container's `--name=value` arguments, `$$` as the kubelet expands it."""
    (container,) = pod["spec"]["containers"]
    pairs = (arg.removeprefix("--").partition("=") for arg in container["args"])
    return {name: value.replace("$$", "$") for name, _, value in pairs}
