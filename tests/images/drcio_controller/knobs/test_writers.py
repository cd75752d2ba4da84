"""A device that has stopped costs the others nothing: not their knobs, not the metrics, not the end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drcio_controller.errors import Busy
from drcio_controller.kernel.drain import WITHIN_S, Drain
from drcio_controller.kernel.knob import Knob
from drcio_controller.kernel.parse import DeviceId
from drcio_controller.knobs.journal import Journal
from drcio_controller.knobs.writers import STOPPED_PATIENCE_S, Knobs
from drcio_controller.kube.pod import QosClass
from drcio_controller.testing.fakenode import DEVICE, FakeNode
from tests.images.drcio_controller.rig import Rig, running
from tests.waits import eventually

OTHER = DeviceId("259:7")
STOPS_WITHIN_S = 5.0
SOON_S = 1.0


@pytest.fixture
def two(node: FakeNode) -> Iterator[FakeNode]:
    node.add_device(OTHER, "nvme2n1", "vol0fedcba98765432100")
    yield node
    for device in list(node.paused):
        node.resume(device)


def qos(device: DeviceId) -> Knob:
    return Knob("io.cost.qos", device)


def on(period_us: int) -> str:
    return f"enable=1 ctrl=user rlat={period_us} min=100.00 max=100.00"


def start(node: FakeNode, journal: Journal | None = None) -> Knobs:
    return Knobs(node.roots, journal or Journal(None), write=node.write)


def pass_until_written(knobs: Knobs, wanted: dict[Knob, str]) -> None:
    eventually(lambda: knobs.reconcile(wanted, 0.0) is not None and knobs.held == wanted, "held")


def test_write_that_does_not_return_stops_no_other_device_and_no_default(two: FakeNode) -> None:
    weight = Knob(f"{two.add_pod('a', QosClass.BURSTABLE)}/io.weight")
    wanted = {qos(DEVICE): on(5000), qos(OTHER): on(5000), weight: "1000"}
    two.pause(DEVICE, in_flight=0)  # nothing to see beforehand: it stops while the write waits
    knobs = start(two)

    knobs.reconcile(wanted, 0.0)

    assert knobs.held == {qos(OTHER): on(5000), weight: "1000"}
    assert two.read(weight.file) == "default 1000\n"
    assert list(knobs.waiting_s) == [DEVICE]


def test_passes_do_not_wait_for_it_again(two: FakeNode) -> None:
    two.pause(DEVICE, in_flight=0)
    knobs = start(two)
    knobs.reconcile({qos(DEVICE): on(5000)}, 0.0)
    began_s = time.monotonic()

    for turn in range(1, 11):
        knobs.reconcile({qos(DEVICE): on(5000), qos(OTHER): on(1000 * turn)}, 0.5 * turn)
        assert f"rlat={1000 * turn} " in two.read("io.cost.qos")

    assert time.monotonic() - began_s < SOON_S


def test_device_that_goes_on_gets_the_newest_settings(two: FakeNode) -> None:
    two.pause(DEVICE, in_flight=0)
    knobs = start(two)
    for turn in (1, 2, 3):
        knobs.reconcile({qos(DEVICE): on(1000 * turn)}, 0.5 * turn)
    two.resume(DEVICE)

    pass_until_written(knobs, {qos(DEVICE): on(3000)})

    assert knobs.waiting_s == {}
    assert [text for file, text in two.writes if file == "io.cost.qos"] == [
        f"{DEVICE} {on(1000)}",
        f"{DEVICE} {on(3000)}",
    ]


def test_controller_is_not_taken_out_below_a_writer_that_does_not_return(two: FakeNode) -> None:
    """A cgroup's file goes only when nobody is writing to it: the kernel would wait, with a lock held."""
    level = Knob(f"{two.hierarchy.slices[1]}/cgroup.subtree_control", "io")
    two.write(f"{two.roots.cgroup}/{level.file}", "-io")
    knobs = start(two)
    knobs.reconcile({level: "on"}, 0.0)
    two.pause(DEVICE, in_flight=0)
    knobs.reconcile({level: "on", qos(DEVICE): on(5000)}, 0.5)

    knobs.reconcile({}, 1.0)
    assert "io" in two.read(level.file).split()

    two.resume(DEVICE)
    eventually(
        lambda: knobs.reconcile({}, 2.0) is not None and "io" not in two.read(level.file).split(), "off"
    )


def test_end_leaves_it_to_the_next_and_puts_the_others_back(two: FakeNode, tmp_path: Path) -> None:
    weight = Knob(f"{two.add_pod('a', QosClass.BURSTABLE)}/io.weight")
    knobs = start(two, Journal(tmp_path))
    knobs.reconcile({qos(DEVICE): on(5000), qos(OTHER): on(5000), weight: "1000"}, 0.0)
    two.pause(DEVICE, in_flight=0)
    knobs.reconcile({qos(DEVICE): on(9000), qos(OTHER): on(5000), weight: "1000"}, 0.5)
    began_s = time.monotonic()

    left = knobs.restore(patience_s=8.0).unreleased

    assert time.monotonic() - began_s < STOPPED_PATIENCE_S + SOON_S
    assert [failure.knob for failure in left] == [qos(DEVICE)]
    assert two.read(weight.file) == "default 100\n"
    assert f"{OTHER} enable=0" in two.read("io.cost.qos")
    two.resume(DEVICE)
    eventually(lambda: "rlat=9000" in two.read("io.cost.qos"), "what was in the kernel ends")
    assert start(two, Journal(tmp_path)).restore().unreleased == ()
    assert "enable=1" not in two.read("io.cost.qos")


@pytest.mark.parametrize("file", ["io.cost.qos", "io.cost.model", "io.max"])
def test_write_that_would_wait_for_a_stopped_device_is_not_begun(two: FakeNode, file: str) -> None:
    knob = Knob(file if file != "io.max" else f"kubepods.slice/{file}", DEVICE)
    value = {"io.cost.qos": on(5000), "io.cost.model": "ctrl=user model=linear rbps=1"}.get(
        file, "rbps=1 wbps=max riops=max wiops=max"
    )
    two.pause(DEVICE)
    knobs = start(two)

    (failure,) = knobs.reconcile({knob: value}, 0.0).failures

    assert isinstance(failure.error, Busy)
    assert "does not end its 8 requests" in str(failure.error)
    assert two.writes == []
    assert DEVICE in knobs.waiting_s
    two.resume(DEVICE)
    pass_until_written(knobs, {knob: value})
    assert knobs.waiting_s == {}


def test_end_with_a_stopped_device_begins_no_write_for_it(two: FakeNode, tmp_path: Path) -> None:
    knobs = start(two, Journal(tmp_path))
    knobs.reconcile({qos(DEVICE): on(5000), qos(OTHER): on(5000)}, 0.0)
    two.pause(DEVICE)
    two.writes.clear()
    began_s = time.monotonic()

    left = knobs.restore(patience_s=8.0).unreleased

    assert time.monotonic() - began_s < STOPPED_PATIENCE_S + SOON_S
    assert [failure.knob for failure in left] == [qos(DEVICE)]
    assert two.writes == [("io.cost.qos", f"{OTHER} enable=0 ctrl=auto")]


class Clock:
    """Let the device do something after some looks."""

    def __init__(self, node: FakeNode, after_s: float, in_flight: int) -> None:
        self._node, self._after_s, self._in_flight = node, after_s, in_flight
        self.now_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self.now_s >= self._after_s:
            self._node.pause(in_flight=self._in_flight)


@pytest.mark.parametrize(("after_s", "ready"), [(0.0, True), (WITHIN_S / 2, True), (2 * WITHIN_S, False)])
def test_device_is_given_a_moment_to_end_a_request(node: FakeNode, after_s: float, ready: bool) -> None:
    node.pause(in_flight=8)
    clock = Clock(node, after_s, in_flight=7)
    drain = Drain(node.roots, DEVICE, clock=lambda: clock.now_s, sleep=clock.sleep)

    if ready:
        drain.require()
    else:
        with pytest.raises(Busy):
            drain.require()
    assert (drain.stopped_at_s is None) == ready
    assert clock.now_s <= WITHIN_S + 0.01


def test_stopped_device_is_not_waited_for_a_second_time(node: FakeNode) -> None:
    node.pause(in_flight=8)
    clock = Clock(node, float("inf"), 0)
    drain = Drain(node.roots, DEVICE, clock=lambda: clock.now_s, sleep=clock.sleep)
    for _ in range(5):
        with pytest.raises(Busy):
            drain.require()

    assert clock.now_s == pytest.approx(WITHIN_S, abs=0.01)


@pytest.fixture
def rig(two: FakeNode, fast_folder: Path) -> Iterator[Rig]:
    with running(two, fast_folder) as made:
        yield made


def busy_pods(rig: Rig) -> None:
    """Keep a high and a low pod on each of the two devices."""
    for device in (DEVICE, OTHER):
        for priority in ("high", "low"):
            rig.add_pod(f"{priority}-{device[-1]}", priority)
    keep_busy(rig, DEVICE, OTHER)
    eventually(lambda: rig.node.read("io.cost.qos").count("enable=1") == 2, "both devices controlled")


def keep_busy(rig: Rig, *devices: DeviceId) -> None:
    for device in devices:
        for priority in ("high", "low"):
            cgroup = rig.node.hierarchy.pod(f"{priority}-{device[-1]}", QosClass.BURSTABLE)
            rig.node.do_io(cgroup, read_bytes=1 << 20, ios=4, usage_us=50_000, device=device)


@pytest.mark.parametrize("in_flight", [8, 0], ids=["seen to have stopped", "stops while a write waits"])
def test_agent_with_a_stopped_volume_steers_the_other_answers_and_ends(rig: Rig, in_flight: int) -> None:
    busy_pods(rig)
    rig.node.pause(DEVICE, in_flight=in_flight)
    # A foreign write makes the agent write to the stopped device again.
    two = rig.node.read("io.cost.qos")
    (rig.node.roots.cgroup / "io.cost.qos").write_text(two.replace("enable=1", "enable=0"))

    eventually(lambda: f"{OTHER} enable=1" in rig.node.read("io.cost.qos"), "the other is controlled again")
    assert f"{DEVICE} enable=0" in rig.node.read("io.cost.qos")
    began_s = time.monotonic()
    eventually(
        lambda: (
            f'drcio_device_writes_wait_seconds{{device="{DEVICE}",name="nvme1n1"}} 0.0'
            not in rig.get("/metrics")[1]
        ),
        "metrics",
    )
    assert rig.get("/healthz")[0] == 200
    eventually(
        lambda: any("it has stopped" in one for one in json.loads(rig.get("/status")[1])["problems"]),
        "status",
    )
    assert time.monotonic() - began_s < STOPS_WITHIN_S

    began_s = time.monotonic()
    rig.stop()

    assert time.monotonic() - began_s < STOPS_WITHIN_S
    assert rig.exit_status == 1
    assert "enable=1" not in rig.node.read("io.cost.qos")


def test_writes_are_counted_by_how_long_they_took(rig: Rig) -> None:
    busy_pods(rig)
    eventually(lambda: 'drcio_knob_write_seconds_count{file="io.cost.qos"}' in rig.get("/metrics")[1], "it")

    lines = rig.get("/metrics")[1].splitlines()
    buckets = [
        float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith('drcio_knob_write_seconds_bucket{file="io.cost.qos"')
    ]
    (count,) = (
        float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith('drcio_knob_write_seconds_count{file="io.cost.qos"')
    )
    assert buckets == sorted(buckets)
    assert buckets[-1] == count >= 2
