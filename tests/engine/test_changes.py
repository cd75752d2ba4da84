"""Changes of a running stack that the engine or Kubernetes would not take as they come."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from drcio_controller.manifest import APP_LABEL as CONTROLLER
from drcio_controller.manifest import CONFIG_FILE
from tests.engine.bench import EXISTING, Bench
from tests.engine.running import Running

LEAN = {**EXISTING, "drcio:monitoring.enabled": False, "drcio:experiment.enabled": False}


@pytest.fixture(scope="module")
def running(bench: Bench) -> Iterator[Running]:
    running = Running(bench, "changes", "drcio", LEAN)
    yield running
    assert running.end() == []


def test_another_batch_job_takes_the_old_ones_place_at_once(running: Running) -> None:
    assert running.stack

    assert running.up(**{"batch.pattern": "random-read"}).ops_of("Job")

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
