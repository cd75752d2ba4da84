"""Waiting for pods inside the guest: told by the store, by the guest's clock, and never for ever."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from drcio_controller.kube.jsontypes import JsonObject
from drcio_controller.testing.store import PodStore, Resource
from node_twin.guest.waits import await_bytes, await_pod

POD: JsonObject = {"metadata": {"name": "hp", "namespace": "drcio", "uid": "1"}, "spec": {"nodeName": "n"}}
READY: JsonObject = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
START_ERROR: JsonObject = {
    "phase": "Running",
    "containerStatuses": [{"lastState": {"terminated": {"reason": "StartError", "message": "no such file"}}}],
}


def store_with_pod() -> PodStore:
    store = PodStore()
    store.create(Resource.PODS, "drcio", POD)
    return store


def soon(action: Callable[[], object]) -> None:
    threading.Timer(0.1, action).start()


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("ready", READY),
        ("ready", {"phase": "Failed"}),
        ("ready", START_ERROR),
        ("ended", {"phase": "Succeeded"}),
    ],
)
def test_change_of_the_status_ends_the_wait(state: str, status: JsonObject) -> None:
    store = store_with_pod()
    soon(lambda: store.patch(Resource.PODS, "drcio", "hp", {"status": status}))
    answer = await_pod(store, "hp", state, 10)
    assert answer["over"] is True
    assert answer["pod"] is not None


@pytest.mark.parametrize("state", ["ready", "ended", "gone"])
def test_pod_that_goes_ends_every_wait(state: str) -> None:
    store = store_with_pod()
    soon(lambda: store.delete(Resource.PODS, "drcio", "hp"))
    assert await_pod(store, "hp", state, None) == {"over": True, "pod": None}


def test_time_that_is_over_is_said_with_the_pod_as_it_is() -> None:
    answer = await_pod(store_with_pod(), "hp", "ready", 0.05)
    assert answer["over"] is False
    assert answer["pod"] is not None


def test_bytes_are_waited_for_until_they_have_moved(tmp_path: Path) -> None:
    stat = tmp_path / "io.stat"
    stat.write_text("259:0 rbytes=100 wbytes=0 rios=1 wios=0\n")
    soon(lambda: stat.write_text("259:0 rbytes=600 wbytes=500 rios=1 wios=1\n"))
    begun_s = time.monotonic()
    answer = await_bytes(store_with_pod(), "hp", lambda _name: tmp_path, 1000)
    assert answer["bytes"] == 1100
    assert time.monotonic() - begun_s < 5


def test_pod_that_ends_without_moving_anything_is_not_waited_for(tmp_path: Path) -> None:
    store = store_with_pod()
    soon(lambda: store.patch(Resource.PODS, "drcio", "hp", {"status": {"phase": "Failed"}}))
    assert await_bytes(store, "hp", lambda _name: None, 1)["bytes"] == 0
