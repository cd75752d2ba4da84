"""Events are aggregated, rate-limited, and never block who gives them."""

import time
from collections.abc import Callable

import pytest

from drcio_controller.kube.errors import ApiUnavailable, Conflict, NotFound
from drcio_controller.kube.events import Aggregator, EventRecorder, EventType, PodNotice
from drcio_controller.kube.jsontypes import JsonObject
from drcio_controller.kube.pod import Pod, QosClass
from drcio_controller.loglimit import LogLimit
from tests.waits import eventually

POD = Pod("u1", "shop", "api", {}, {}, QosClass.BURSTABLE, "Running", "", (), "1")


def notice(message: str = "m", uid: str = "u1") -> PodNotice:
    return PodNotice("shop", "api", uid, EventType.WARNING, "WeightInert", message)


def test_equal_notices_are_counted_together() -> None:
    aggregator = Aggregator(LogLimit())
    tallies = [aggregator.admit(notice(), now_s) for now_s in (10.0, 20.0)]
    assert [tally and (tally.count, tally.first_s) for tally in tallies] == [(1, 10.0), (2, 10.0)]


def test_talkative_pod_is_held_back_and_others_are_not() -> None:
    aggregator = Aggregator(LogLimit(burst=2, refill_s=10))
    admitted = [aggregator.admit(notice(str(n)), 0.0) is not None for n in range(4)]
    assert admitted == [True, True, False, False]
    assert aggregator.admit(notice(uid="u2"), 0.0) is not None


def test_held_back_notices_are_in_the_next_count() -> None:
    now_s = 0.0
    aggregator = Aggregator(LogLimit(burst=1, refill_s=10, clock=lambda: now_s))
    for _ in range(5):
        aggregator.admit(notice(), now_s)
    now_s = 10.0
    tally = aggregator.admit(notice(), now_s)
    assert tally is not None
    assert tally.count == 6


class Sink:
    """A sink that can be told to fail."""

    def __init__(self) -> None:
        self.created: list[JsonObject] = []
        self.patched: list[JsonObject] = []
        self.create_error: Exception | None = None
        self.patch_error: Exception | None = None

    def create_event(self, namespace: str, event: JsonObject) -> None:
        if self.create_error:
            raise self.create_error
        self.created.append(event)

    def patch_event(self, namespace: str, name: str, patch: JsonObject) -> None:
        if self.patch_error:
            raise self.patch_error
        self.patched.append(patch)


@pytest.fixture
def sink() -> Sink:
    return Sink()


def recorded(sink: Sink, times: int, condition: Callable[[EventRecorder], bool]) -> EventRecorder:
    recorder = EventRecorder(sink, component="drcio-controller", node_name="n1")
    recorder.start()
    for _ in range(times):
        recorder.notify(POD, EventType.WARNING, "WeightInert", "iocost is off")
    eventually(lambda: condition(recorder), "the Events are there", within_s=3, every_s=0.002)
    recorder.stop()
    return recorder


def test_second_time_raises_the_count(sink: Sink) -> None:
    recorded(sink, 2, lambda _: bool(sink.patched))
    assert sink.created[0]["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "shop",
        "name": "api",
        "uid": "u1",
    }
    assert sink.patched[0]["count"] == 2


def test_event_that_the_server_dropped_is_created_again(sink: Sink) -> None:
    sink.patch_error = NotFound(404, "NotFound", "gone")
    recorded(sink, 2, lambda _: len(sink.created) == 2)
    assert sink.created[1]["count"] == 1


def test_event_of_an_earlier_life_is_taken_over(sink: Sink) -> None:
    sink.create_error = Conflict(409, "AlreadyExists", "there")
    recorded(sink, 1, lambda _: bool(sink.patched))


def test_unreachable_server_costs_the_event_and_nothing_else(sink: Sink) -> None:
    sink.create_error = ApiUnavailable("refused", "connect")
    recorder = recorded(sink, 1, lambda recorder: recorder.dropped == 1)
    assert recorder.dropped == 1


def test_notify_never_blocks(sink: Sink) -> None:
    recorder = EventRecorder(sink, component="c", node_name="n")  # not started: nobody reads the queue
    before_s = time.monotonic()
    for _ in range(1000):
        recorder.notify(POD, EventType.NORMAL, "R", "m")
    assert time.monotonic() - before_s < 1
    assert recorder.dropped > 0
