"""Changes of a running stack that the engine or Kubernetes would not take as they come."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from drcio_controller.manifest import APP_LABEL as CONTROLLER
from drcio_controller.manifest import CONFIG_FILE
from tests.engine.bench import EXISTING, Bench
from tests.engine.cluster import DEFAULT_CLASS
from tests.engine.kube import STRATEGIC
from tests.engine.running import Running
from tests.waits import wait_until

LEAN = {**EXISTING, "drcio:monitoring.enabled": False, "drcio:experiment.enabled": False}


@pytest.fixture(scope="module")
def running(bench: Bench) -> Iterator[Running]:
    running = Running(bench, "changes", "drcio", LEAN)
    yield running
    assert running.end() == []


def test_another_batch_job_takes_the_old_ones_place_at_once(running: Running) -> None:
    assert running.stack

    assert running.up(fails=False, **{"batch.pattern": "random-read"}).ops_of("Job")

    running.is_unchanged()


def test_another_storage_class_neither_hangs_nor_loses_the_volume(running: Running) -> None:
    stack = running.stack
    volumes = dict(running.bench.account.volumes)

    outcome = running.up(fails=None, **{"storage.className": "another"})

    assert not outcome.hung
    assert outcome.changed == []
    assert "hint:" in outcome.error
    assert running.bench.account.volumes == volumes
    stack.configure({"drcio:storage.className": None})
    running.is_unchanged()


def test_the_context_that_was_current_is_kept(running: Running) -> None:
    stack, bench = running.stack, running.bench
    assert stack.outputs()["clusterName"] == "bench"
    theirs = bench.kubeconfig.read_text()
    bench.kubeconfig.write_text(theirs.replace('"current-context": "bench"', '"current-context": "other"'))
    try:
        refused = stack.up(fails=True)
    finally:
        bench.kubeconfig.write_text(theirs)
    assert refused.changed == []
    assert "the kubeconfig's current context is other and the running stack has bench" in refused.error
    running.is_unchanged()


def test_a_weight_that_was_edited_by_hand_is_seen_by_refresh_and_put_back_by_up(running: Running) -> None:
    stack, kube = running.stack, running.cluster.kube
    path = f"/api/v1/namespaces/drcio-system/configmaps/{CONTROLLER}"
    found = kube.get(path)
    assert found is not None
    wanted = found["data"][CONFIG_FILE]
    edited = yaml.safe_load(wanted)
    edited["classes"]["high"]["weight"] = 7
    kube.patch(path, {"data": {CONFIG_FILE: json.dumps(edited)}})

    assert stack.refresh().changed == ["update ConfigMap io-controller-config"]
    running.up()

    back = kube.get(path)
    assert back is not None
    assert back["data"][CONFIG_FILE] == wanted
    running.is_unchanged()


def test_a_growth_that_the_class_does_not_let_is_refused_untouched_and_can_be_taken_back(
    running: Running,
) -> None:
    stack, kube = running.stack, running.cluster.kube
    path = f"/apis/storage.k8s.io/v1/storageclasses/{DEFAULT_CLASS}"
    kube.patch(path, {"allowVolumeExpansion": False})
    try:
        refused = running.up(fails=True, **{"storage.sizeGib": 80})
    finally:
        kube.patch(path, {"allowVolumeExpansion": True})
    assert refused.changed == []
    assert f"StorageClass {DEFAULT_CLASS} does not let volumes grow" in refused.error
    stack.configure({"drcio:storage.sizeGib": None})
    running.is_unchanged()


def test_workloads_are_not_turned_off_with_the_data_on_their_volume(running: Running) -> None:
    stack = running.stack
    volumes = dict(running.bench.account.volumes)

    refused = running.up(fails=True, **{"workloads.enabled": False})

    assert refused.changed == []
    assert "the volume and its data would go with the workloads" in refused.error
    assert running.bench.account.volumes == volumes
    stack.configure({"drcio:workloads.enabled": None})
    running.is_unchanged()


def test_what_was_changed_by_hand_is_put_back_and_stays(running: Running) -> None:
    stack, kube = running.stack, running.cluster.kube
    service = "/apis/apps/v1/namespaces/drcio/deployments/hp-gnn-service"
    agents = f"/apis/apps/v1/namespaces/drcio-system/daemonsets/{CONTROLLER}"
    enforce = "pod-security.kubernetes.io/enforce"
    image = {"name": CONTROLLER, "image": "evil:latest", "env": [{"name": "FOO", "value": "bar"}]}
    # Under the name that kubectl goes by; what another controller sets beside ours is left to it.
    by_hand = f"{agents}?fieldManager=kubectl-edit"
    kube.patch(by_hand, {"spec": {"template": {"spec": {"containers": [image]}}}}, STRATEGIC)
    kube.patch(service, {"metadata": {"labels": {"app": None}}, "spec": {"replicas": 3}})
    kube.patch("/api/v1/namespaces/drcio", {"metadata": {"labels": {enforce: None}}})
    kube.delete("/apis/batch/v1/namespaces/drcio/jobs/lp-batch", {"propagationPolicy": "Background"})

    stack.refresh()
    running.up()

    (container,) = (kube.get(agents) or {})["spec"]["template"]["spec"]["containers"]
    assert container["image"] == EXISTING["drcio:images.controller"]
    assert "FOO" not in {it["name"] for it in container["env"]}
    assert (kube.get(service) or {})["spec"]["replicas"] == 1
    assert (kube.get("/api/v1/namespaces/drcio") or {})["metadata"]["labels"][enforce] == "restricted"
    assert kube.get("/apis/batch/v1/namespaces/drcio/jobs/lp-batch") is not None
    running.is_unchanged()


def test_a_namespace_that_was_deleted_by_hand_comes_back_by_what_the_refusal_says(running: Running) -> None:
    stack, kube = running.stack, running.cluster.kube
    kube.delete("/api/v1/namespaces/drcio")
    assert wait_until(lambda: kube.get("/api/v1/namespaces/drcio") is None)

    refused = running.up(fails=True)

    assert refused.changed == []
    assert "has no namespace drcio, which this stack has made" in refused.error
    stack.refresh()
    running.up()
    running.is_unchanged()
