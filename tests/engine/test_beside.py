"""What is done to a stack beside its program: others mutate it, rename it, forget it, delete it by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drcio_controller.manifest import APP_LABEL as CONTROLLER
from experiment_runner.manifest import APP as EXPERIMENT
from hp_service.manifest import NAME as SERVICE
from local_cluster.kube import Kube, Object
from lp_batch.manifest import APP as BATCH
from tests.engine.bench import EXISTING, Bench
from tests.engine.nodes import End, Life
from tests.engine.running import Running
from tests.engine.stack import kill_engine
from tests.engine.test_faults import Update
from tests.waits import wait_until

ADMISSION = "/apis/admissionregistration.k8s.io/v1beta1"
LEFT_ALONE_S = 8.0
"""How long an experiment goes on whose engine was killed: into the next update."""
MUTATED = (
    ("", "pods", "spec"),
    ("batch", "jobs", "spec.template.spec"),
    ("apps", "deployments", "spec.template.spec"),
    ("apps", "daemonsets", "spec.template.spec"),
)
"""API group, kind and where its pods' specification is."""


def mutation(group: str, plural: str, spec: str) -> Object:
    """Return a policy that gives what is made or changed a label, an annotation and a toleration."""
    templated = spec != "spec"
    metadata = 'Object{metadata: Object.metadata{labels: {"mesh": "on"}, annotations: {"mesh/by": "policy"}}}'
    path = "/" + spec.replace(".", "/") + "/tolerations"
    tolerated = f"object.{spec}.?tolerations.orValue([]).exists(it, it.?key.orValue('') == 'mesh')"
    patch = (
        f"{tolerated} ? [] : "
        f"(has(object.{spec}.tolerations) "
        f'? [JSONPatch{{op: "add", path: "{path}/-", value: {{"key": "mesh", "operator": "Exists"}}}}] '
        f': [JSONPatch{{op: "add", path: "{path}", value: [{{"key": "mesh", "operator": "Exists"}}]}}])'
    )
    mutations: list[Object] = [
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": metadata}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression": patch}},
    ]
    return {
        "metadata": {"name": f"mesh-{plural}"},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [group],
                        "apiVersions": ["v1"],
                        "resources": [plural],
                        "operations": ["CREATE", "UPDATE"] if templated else ["CREATE"],
                    }
                ]
            },
            "mutations": mutations,
        },
    }


@pytest.fixture(scope="module")
def mutated(bench: Bench) -> Iterator[Kube]:
    """The existing cluster, on which somebody's policies change what is made."""
    kube = bench.existing.kube
    for kind in MUTATED:
        policy = mutation(*kind)
        name = policy["metadata"]["name"]
        kube.create(f"{ADMISSION}/mutatingadmissionpolicies", policy)
        binding = {"metadata": {"name": name}, "spec": {"policyName": name}}
        kube.create(f"{ADMISSION}/mutatingadmissionpolicybindings", binding)
    yield kube
    for _, plural, _ in MUTATED:
        for kind_name in ("mutatingadmissionpolicybindings", "mutatingadmissionpolicies"):
            kube.delete(f"{ADMISSION}/{kind_name}/mesh-{plural}")


@pytest.fixture(scope="module")
def running(bench: Bench, mutated: Kube) -> Iterator[Running]:
    assert mutated
    config = {**EXISTING, "drcio:monitoring.enabled": False, "drcio:durationSeconds": 10}
    running = Running(bench, "beside", "drcio", config)
    yield running
    assert running.end() == []


def test_what_an_admission_policy_adds_is_no_change(running: Running) -> None:
    stack, kube = running.stack, running.cluster.kube
    job = kube.get(f"/apis/batch/v1/namespaces/drcio/jobs/{BATCH}")
    assert job is not None
    assert job["metadata"]["labels"]["mesh"] == "on"
    assert {"key": "mesh", "operator": "Exists"} in job["spec"]["template"]["spec"]["tolerations"]
    assert stack.outputs()["verdict"] == "pass"

    running.is_unchanged()
    stack.refresh()
    running.up()
    running.is_unchanged()
    now = kube.get(f"/apis/batch/v1/namespaces/drcio/jobs/{BATCH}")
    assert now is not None
    assert now["metadata"]["uid"] == job["metadata"]["uid"], "a Job that nobody changed was made anew"


def test_objects_that_were_deleted_by_hand_come_back(running: Running) -> None:
    stack, kube = running.stack, running.cluster.kube
    gone = (
        f"/apis/apps/v1/namespaces/drcio/deployments/{SERVICE}",
        f"/apis/apps/v1/namespaces/drcio-system/daemonsets/{CONTROLLER}",
        f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{CONTROLLER}",
        f"/api/v1/namespaces/drcio/configmaps/{BATCH}-present",
        "/apis/scheduling.k8s.io/v1/priorityclasses/drcio-high",
    )
    for path in gone:
        assert kube.get(path) is not None, path
        kube.delete(path)

    stack.refresh()
    running.up()

    assert [path for path in gone if kube.get(path) is None] == []
    running.is_unchanged()


@pytest.mark.parametrize("name", ["lp-batch", "storage-claim"])
def test_an_object_that_the_state_has_forgotten_is_found_again(running: Running, name: str) -> None:
    stack = running.stack
    volumes = dict(running.bench.account.volumes)
    running.broken = True
    stack.forget(name)

    outcome = stack.up(fails=None)

    assert not outcome.error, outcome.error
    assert running.bench.account.volumes == volumes
    running.is_unchanged()


def test_another_scenario_while_the_experiment_runs_is_measured_alone(running: Running) -> None:
    stack = running.stack
    running.cluster.lives[EXPERIMENT] = [Life(end=End.SUCCEED, after_s=LEFT_ALONE_S)]
    running.broken = True
    stack.configure({"drcio:experiment.run": "interrupted"})
    update = Update(stack.up)
    update.start()
    pods = f"/api/v1/pods?labelSelector=app%3D{EXPERIMENT}"
    assert wait_until(
        lambda: "Running" in [it["status"].get("phase") for it in running.cluster.kube.items(pods)]
    )
    kill_engine(stack.name)
    update.join()
    stack.cancel()

    running.up(scenario="baseline")

    measured = running.cluster.runner.measurements[-1]
    assert (measured.scenario, set(measured.beside)) == ("baseline", {SERVICE})
    assert stack.outputs()["verdict"] == "pass"
    running.is_unchanged()
    running.up(scenario="drcio")
    running.is_unchanged()


def test_a_stack_with_another_name_is_the_same_stack(running: Running) -> None:
    stack = running.stack
    volumes = dict(running.bench.account.volumes)
    stack.rename(f"{stack.name}-renamed")

    running.up()

    assert running.bench.account.volumes == volumes
    running.is_unchanged()
