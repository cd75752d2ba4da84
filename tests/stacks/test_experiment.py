"""The experiment after the deployment: run again only when what it measures changes, and read back."""

from __future__ import annotations

import json
from typing import cast

import pulumi
import pytest

from components import experiment, experiment_results
from components.experiment_results import summary
from drcio_controller import config as controller_config
from experiments.job import cli
from stacks.preview.dryrun import DryRun, Registration
from tests.stacks.dryruns import GIVEN_IMAGES, render

SCENARIOS = ("baseline", "contention", "drcio")
ON = {"drcio:experiment.enabled": "true", **GIVEN_IMAGES}
RESULTS = {
    "schema": "drcio.results/1",
    "scenarios": {
        "drcio": {
            "hp": {"p50_ms": 20.5, "p95_ms": 31.0, "p99_ms": 44.0, "fetch_p95_ms": 2.5, "errors": 0},
            "lp": {"mib_s": 108.2},
        }
    },
    "verdict": "inconclusive",
    "reasons": ["only drcio was run"],
}


def job(run: DryRun) -> Registration:
    (found,) = [
        item for item in run.registrations if item.type.endswith(":Job") and item.name == "experiment"
    ]
    return found


def job_name(overrides: dict[str, str]) -> str:
    metadata = job(render("drcio", {**ON, **overrides})).inputs["metadata"]
    return str(metadata["name"])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_job_waits_for_everything_that_it_measures(scenario: str) -> None:
    needed = {urn.rpartition("::")[2] for urn in job(render(scenario, ON)).dependencies}
    expected = {
        "baseline": {"hp-service"},
        "contention": {"hp-service", "lp-batch"},
        "drcio": {"hp-service", "lp-batch", "io-controller"},
    }
    assert needed >= expected[scenario]


def test_its_rights_are_one_config_map_and_to_see_who_else_runs() -> None:
    run = render("drcio", ON)
    (role,) = [item for item in run.registrations if item.name == "experiment-role"]
    assert role.inputs["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [job_name({})],
            "verbs": ["get", "patch"],
        }
    ]
    (looking,) = [item for item in run.registrations if item.name == "experiment-looking"]
    assert looking.inputs["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_job_knows_who_may_run_and_on_what_configuration(scenario: str) -> None:
    spec = job(render(scenario, {**ON, "drcio:service.replicas": "2"})).inputs["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    wanted = cli._measurement(cli._parser({}).parse_args(container["args"]))
    parts = {"baseline": {}, "contention": {"lp-batch": 2}, "drcio": {"lp-batch": 2, "drcio-controller": 1}}
    assert wanted.scene is not None
    assert wanted.scene.expected == {"hp-gnn-service": 2, **parts[scenario]}
    if scenario != "drcio":
        assert wanted.controller_config is None
        return
    (config_map,) = [
        item for item in render(scenario, ON).registrations if item.name == "io-controller-config"
    ]
    text = config_map.inputs["data"]["config.yaml"]
    assert wanted.controller_config == controller_config.digest(controller_config.parse(text))


def test_a_weight_that_nobody_applies_changes_no_name() -> None:
    names = {
        str(job(render("contention", {**ON, **change})).inputs["metadata"]["name"])
        for change in ({}, {"drcio:ioWeights.high": "800"})
    }
    assert len(names) == 1


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_runner_gets_a_spec_that_it_takes_and_finds_every_pod_by_name(scenario: str) -> None:
    run = render(scenario, {**ON, "drcio:experiment.pods": "3"})
    spec = job(run).inputs["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    wanted = cli._measurement(cli._parser({}).parse_args(container["args"]))
    assert [arm.name for arm in wanted.spec.scenarios] == [scenario]
    assert (wanted.spec.rate_rps, wanted.spec.duration_s, wanted.spec.lp_workers) == (50.0, 120.0, 32)
    assert wanted.crew.size == 3
    services = {
        f"{name['name']}.{name['namespace']}.svc": item.inputs["spec"]
        for item in run.registrations
        if item.type.endswith(":Service") and (name := item.inputs["metadata"])
    }
    sources = [wanted.sources.hp, wanted.sources.lp, wanted.sources.controller]
    named = [source.rpartition(":") for source in sources if source is not None]
    assert len(named) == {"baseline": 1, "contention": 2, "drcio": 3}[scenario]
    for host, _, port in named:
        assert services[host]["clusterIP"] == "None"
        assert services[host]["ports"][0]["port"] == int(port)


def test_job_is_hardened_and_runs_once() -> None:
    spec = job(render("drcio", ON)).inputs["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["completionMode"] == "Indexed"
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["serviceAccountName"] == "drcio-experiment"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["image"] == GIVEN_IMAGES["drcio:images.experiment"]


def test_results_are_read_from_the_object_that_the_job_fills() -> None:
    run = render("drcio", ON)
    (read,) = [item for item in run.registrations if item.type == "kubernetes:core/v1:ConfigMapPatch"]
    assert read.inputs["metadata"]["name"] == job_name({})
    assert job(run).urn in read.from_outputs["metadata"], "another Job's results are read anew"
    (made,) = [item for item in run.registrations if item.name == "experiment-results"]
    assert made.inputs["metadata"]["name"] == job_name({})


@pytest.mark.parametrize(
    "change",
    [
        {"drcio:ioWeights.high": "800"},
        {"drcio:images.lpBatch": f"registry.example/lpbatch@sha256:{'1' * 64}"},
        {"drcio:durationSeconds": "240"},
        {"drcio:loadLevel": "high"},
        {"drcio:batch.pattern": "random-read"},
        {"drcio:experiment.seed": "2"},
        {"drcio:experiment.run": "again"},
        {"drcio:experiment.pods": "2"},
        {"drcio:controller.policy": "step"},
        {"drcio:images.experiment": f"registry.example/experiment@sha256:{'1' * 64}"},
        {"drcio:storage.iops": "6000"},
        {"drcio:batch.rateMibps": "50"},
        {"drcio:batch.operations": "1000"},
        {"drcio:service.memory": "3Gi"},
        {"drcio:service.replicas": "2"},
        {"drcio:service.priority": "medium"},
    ],
)
def test_what_is_measured_changes_the_name(change: dict[str, str]) -> None:
    assert job_name(change) != job_name({})


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"drcio:monitoring.enabled": "false"},
        {"drcio:monitoring.retentionDays": "30"},
        {"drcio:cluster.publicAccessCidrs": "192.0.2.0/24"},
        {"drcio:service.loadBalancer": "true"},
    ],
)
def test_nothing_else_changes_the_name(change: dict[str, str]) -> None:
    assert job_name(change) == job_name({})


def test_outputs_are_the_fields_of_the_results() -> None:
    found = summary({"results.json": json.dumps(RESULTS)}, "drcio")
    assert (found["p95_ms"], found["lp_mib_s"], found["verdict"]) == (31.0, 108.2, "inconclusive")
    assert found["reasons"] == ["only drcio was run"]
    assert found["results"] == RESULTS


def test_results_that_are_not_there_are_nothing_rather_than_an_error() -> None:
    assert set(summary(None, "drcio").values()) == {None}
    assert set(summary({}, "drcio").values()) == {None}


def test_job_that_failed_without_results_is_an_invalid_experiment() -> None:
    failed = {"conditions": [{"type": "FailureTarget", "reason": "DeadlineExceeded", "message": "too long"}]}
    found = summary(None, "drcio", experiment_results.failure_of(failed))
    assert found["verdict"] == "invalid"
    assert found["reasons"] == ["the experiment's Job failed: DeadlineExceeded: too long"]
    assert found["p95_ms"] is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{not json", "not JSON"),
        ('{"verdict": NaN}', "not JSON: NaN is no number"),
        ("null", "a JSON NoneType"),
        ("[1, 2]", "a JSON list"),
        ('"pass"', "a JSON str"),
        ('{"verdict": "pass", "reasons": []}', "of schema None"),
        (json.dumps({**RESULTS, "schema": "drcio.results/9"}), "of schema 'drcio.results/9'"),
        (json.dumps({**RESULTS, "verdict": 5}), "of verdict 5"),
        (json.dumps({**RESULTS, "verdict": ["pass"]}), "of verdict ['pass']"),
        (json.dumps({**RESULTS, "reasons": "none"}), "of reasons 'none'"),
        (json.dumps({**RESULTS, "reasons": [1]}), "of reasons [1]"),
    ],
)
def test_what_is_no_result_is_an_invalid_experiment(text: str, found: str) -> None:
    outputs = summary({"results.json": text}, "drcio", complete=True)
    assert outputs["verdict"] == "invalid"
    (reason,) = cast(list[str], outputs["reasons"])
    assert f"is {found}" in reason
    assert "drcio:experiment.run" in reason
    assert outputs["p95_ms"] is None


@pytest.mark.parametrize(
    "scenarios", [[], {"drcio": []}, {"drcio": {"hp": 5}}, {"drcio": {"hp": {"p95_ms": "x"}}}]
)
def test_figure_that_is_none_is_left_out(scenarios: object) -> None:
    found = summary({"results.json": json.dumps({**RESULTS, "scenarios": scenarios})}, "drcio")
    assert (found["verdict"], found["p95_ms"]) == ("inconclusive", None)


def test_job_that_ended_and_left_nothing_is_an_invalid_experiment() -> None:
    ended = {"conditions": [{"type": "SuccessCriteriaMet"}, {"type": "Complete"}]}
    found = summary({}, "drcio", complete=experiment_results.succeeded(ended))
    assert found["verdict"] == "invalid"
    assert "ended, and its ConfigMap has no results.json" in str(found["reasons"])
    assert not experiment_results.succeeded({"conditions": [{"type": "Failed"}]})
    assert not experiment_results.succeeded(None)


def test_job_that_ended_well_or_left_results_has_no_failure() -> None:
    done = {"conditions": [{"type": "SuccessCriteriaMet"}, {"type": "Complete"}]}
    assert experiment_results.failure_of(done) is None
    assert experiment_results.failure_of(None) is None
    assert summary({"results.json": json.dumps(RESULTS)}, "drcio", "Evicted")["verdict"] == "inconclusive"


@pytest.mark.parametrize(("verdict", "warned"), [("invalid", True), ("fail", True), ("inconclusive", False)])
def test_failed_or_invalid_experiment_is_warned_of(
    verdict: str, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(pulumi, "warn", lambda message, resource: told.append(message))
    assert experiment._warned(cast(experiment.Experiment, None), verdict, ["no I/O", "no load"]) == verdict
    assert bool(told) is warned
    assert all(message == f"the experiment's verdict is {verdict}: no I/O; no load" for message in told)


def test_stack_exports_every_field() -> None:
    outputs = render("drcio", ON).outputs
    names = {"p50_ms", "p95_ms", "p99_ms", "fetch_p95_ms", "lp_mib_s", "offered_rps", "achieved_rps"}
    assert names | {"errors", "verdict", "reasons", "results"} <= set(outputs)


def test_experiment_that_is_off_leaves_nothing() -> None:
    run = render("drcio", {**ON, "drcio:experiment.enabled": "false"})
    assert not [item for item in run.registrations if "experiment" in item.name]
    assert "verdict" not in run.outputs
