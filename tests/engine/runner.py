"""Stands for the experiment's container: it waits, measures and publishes as the real one does, without
load.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from drcio_controller.config import digest, parse
from drcio_controller.manifest import APP_LABEL as CONTROLLER
from drcio_controller.manifest import CONFIG_FILE
from experiment_runner.manifest import APP, RESULTS_KEY
from experiments.job.scene import JOB_UID_LABEL, Scene, found_in
from hp_service.manifest import NAME as SERVICE
from local_cluster.kube import Kube, Object
from lp_batch.manifest import APP as BATCH
from tests.engine.kube import label

MEASURES_S: Final = 0.6
PATIENCE_S: Final = 20.0
"""The real one's is minutes; on the bench everything that will happen happens in seconds."""
HP: Final = {
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


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One that the stand-in made."""

    scenario: str
    beside: tuple[str, ...]
    """Apps of the pods that ran at any time while it measured, its own left out."""
    weights: Mapping[str, Any]
    """Of the controller's configuration then; empty where there was none."""
    spec: Mapping[str, Any]


@dataclass
class Runner:
    """Publishes a passing result of what it was asked to measure, or an invalid one with the reason."""

    kube: Kube
    ran_since: Callable[[float], set[str]]
    """Apps of the pods that ran at any time since a moment of the monotonic clock."""
    measurements: list[Measurement] = field(default_factory=list)

    def publish(self, pod: Object) -> None:
        """Do what `experiments.job` does, and end with its patch of the ConfigMap."""
        given = arguments_of(pod)
        spec: Mapping[str, Any] = json.loads(given["spec"])
        scenario = spec["scenarios"][0]
        path = f"/api/v1/namespaces/{given['namespace']}/configmaps/{given['config-map']}"
        lacking = self._wait(pod, given)
        if lacking:
            document = {"schema": "drcio.results/1", "verdict": "invalid", "reasons": [lacking]}
        else:
            began = time.monotonic()
            config = self._controller_config(given)
            time.sleep(MEASURES_S)
            beside = tuple(sorted(self.ran_since(began) - {APP}))
            weights = {name: it.weight for name, it in config.classes.items()} if config else {}
            self.measurements.append(
                Measurement(scenario=scenario["name"], beside=beside, weights=weights, spec=spec)
            )
            document = _results(spec, scenario)
        self.kube.patch(path, {"data": {RESULTS_KEY: json.dumps(document)}})

    def _wait(self, pod: Object, given: Mapping[str, str]) -> str:
        """Return what did not come about in time, empty where nothing is in the way."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                lacking = self._strangers(pod, given) or self._other_config(given)
            except httpx.HTTPError as error:
                lacking = repr(error)
            if not lacking or time.monotonic() > deadline:
                return lacking
            time.sleep(0.2)

    def _strangers(self, pod: Object, given: Mapping[str, str]) -> str:
        if "expected-pods" not in given:
            return ""
        scene = Scene(
            namespace=given["namespace"],
            service=SERVICE,
            batch_job=BATCH,
            controller=CONTROLLER,
            experiment=APP,
            job_uid=label(pod, JOB_UID_LABEL),
            expected=json.loads(given["expected-pods"]),
        )
        return ", ".join(found_in(self.kube.get("/api/v1/pods") or {}, scene))

    def _other_config(self, given: Mapping[str, str]) -> str:
        wanted = given.get("controller-config")
        if wanted is None:
            return ""
        config = self._controller_config(given)
        found = digest(config) if config else "none"
        return "" if found == wanted else f"the controller runs on {found}; expected {wanted}"

    def _controller_config(self, given: Mapping[str, str]) -> Any:
        """Return the content of the controller's ConfigMap: the stand-in agent takes it over at once."""
        if "controller" not in given:
            return None
        path = f"/api/v1/namespaces/{given['namespace']}-system/configmaps/{CONTROLLER}"
        found = self.kube.get(path)
        return parse(found["data"][CONFIG_FILE]) if found else None


def _results(spec: Mapping[str, Any], scenario: Mapping[str, Any]) -> Object:
    lp = {"mib_s": 100.0, "ops_s": 100.0, "operations": 1000} if scenario["with_lp"] else {}
    return {
        "schema": "drcio.results/1",
        "environment": {"target": "cluster"},
        "spec": spec,
        "scenarios": {scenario["name"]: {"hp": HP, "lp": lp, "repeats": [{"hp": HP, "lp": lp}]}},
        "comparison": {},
        "verdict": "pass",
        "reasons": [],
    }


def arguments_of(pod: Object) -> dict[str, str]:
    """Return the container's `--name=value` arguments, `$$` as the kubelet expands it."""
    (container,) = pod["spec"]["containers"]
    pairs = (arg.removeprefix("--").partition("=") for arg in container["args"])
    return {name: value.replace("$$", "$") for name, _, value in pairs}
