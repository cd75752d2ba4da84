"""Who may run beside a measurement, from lists of pods as an API server gives them."""

from __future__ import annotations

from typing import Any

import pytest

from drcio_controller.kube.endpoint import at_url
from drcio_controller.testing.server import serving
from drcio_controller.testing.store import PodStore, Resource
from experiments.job.api import Api
from experiments.job.errors import ApiRefused
from experiments.job.scene import JOB_UID_LABEL, Scene, found_in, shown, strangers

SERVICE, BATCH, CONTROLLER, EXPERIMENT = "hp-gnn-service", "lp-batch", "drcio-controller", "drcio-experiment"


def scene(**expected: int) -> Scene:
    names = {"batch": BATCH, "controller": CONTROLLER}
    return Scene(
        namespace="drcio",
        service=SERVICE,
        batch_job=BATCH,
        controller=CONTROLLER,
        experiment=EXPERIMENT,
        job_uid="mine",
        expected={SERVICE: 1, **{names[name]: count for name, count in expected.items()}},
    )


def pod(name: str, app: str, **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": more.get("namespace", "drcio"),
        "labels": {"app": app, **({JOB_UID_LABEL: more["job"]} if "job" in more else {})},
        "creationTimestamp": more.get("created", "2026-11-27T10:00:00Z"),
    }
    if more.get("leaving"):
        metadata["deletionTimestamp"] = "2026-11-27T11:00:00Z"
    return {
        "metadata": metadata,
        "spec": {"nodeName": more.get("node", "node-1"), "containers": [{"name": "c", "image": "x"}]},
        "status": {"phase": more.get("phase", "Running")},
    }


def found(wanted: Scene, *pods: dict[str, Any]) -> list[str]:
    return found_in({"items": [pod("hp-1", SERVICE), pod("me", EXPERIMENT, job="mine"), *pods]}, wanted)


def test_a_scenarios_own_parts_are_no_strangers() -> None:
    batch = [pod(f"lp-batch-{index}", BATCH) for index in range(2)]
    agent = pod("agent", CONTROLLER, namespace="drcio-system")
    assert found(scene()) == []
    assert found(scene(batch=2), *batch) == []
    assert found(scene(batch=2, controller=1), *batch, agent) == []


def test_parts_of_another_scenario_are() -> None:
    batch = pod("lp-batch-0", BATCH)
    agent = pod("agent", CONTROLLER, namespace="drcio-system")
    assert found(scene(), batch, agent) == ["drcio/lp-batch-0", "drcio-system/agent"]
    assert found(scene(batch=1), batch, agent) == ["drcio-system/agent"]


def test_who_is_about_to_leave_still_does_io() -> None:
    assert found(scene(batch=1), pod("old", BATCH, leaving=True), pod("new", BATCH)) == [
        "drcio/old (terminating)"
    ]


def test_more_of_a_kind_than_the_scenario_has_are_the_younger_ones() -> None:
    elder = pod("b", BATCH, created="2026-11-27T09:00:00Z")
    assert found(scene(batch=1), pod("a", BATCH), elder) == ["drcio/a"]


def test_another_experiment_loads_as_well() -> None:
    assert found(scene(), pod("other", EXPERIMENT, job="another")) == ["drcio/other"]
    assert found(scene(), pod("peer", EXPERIMENT, job="mine")) == []


def test_a_controller_counts_on_the_services_node_only_whosever_it_is() -> None:
    elsewhere = pod("far", CONTROLLER, namespace="other-system", node="node-2")
    foreign = pod("near", CONTROLLER, namespace="other-system", created="2026-11-27T10:30:00Z")
    own = pod("own", CONTROLLER, namespace="drcio-system")
    assert found(scene(), elsewhere) == []
    assert found(scene(controller=1), elsewhere, own, foreign) == ["other-system/near"]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_who_has_ended_disturbs_nobody(phase: str) -> None:
    assert found(scene(), pod("done", BATCH, phase=phase)) == []


def test_other_namespaces_and_apps_are_none_of_ours() -> None:
    assert found(scene(), pod("a", BATCH, namespace="elsewhere"), pod("b", "web")) == []


def test_pods_are_asked_for_by_their_apps() -> None:
    store = PodStore()
    for made in (pod("hp-1", SERVICE), pod("lp-batch-0", BATCH), pod("b", "web")):
        store.create(Resource.PODS, "drcio", made)
    with serving(store) as server:
        assert strangers(Api(at_url(server.url)), scene()) == ["drcio/lp-batch-0"]


def test_no_right_to_ask_is_an_error_and_not_an_empty_stage() -> None:
    api = Api(at_url("http://127.0.0.1:1"), sleep=lambda _: None)
    with pytest.raises(ApiRefused):
        strangers(api, scene())


def test_a_message_names_a_handful() -> None:
    assert shown(["a", "b"]) == "a, b"
    assert shown([str(index) for index in range(9)]) == "0, 1, 2, 3, 4 and 4 more"
