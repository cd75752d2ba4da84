"""The loop on a fake node: pods come and go, engines are tried, knobs follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from drcio_controller.config import Config, Engine, PolicyName, VolumeProfile
from drcio_controller.instance import limit_of
from drcio_controller.kernel.devices import GP3_BASELINE
from drcio_controller.kernel.parse import DeviceId
from drcio_controller.knobs.journal import Journal
from drcio_controller.knobs.knobset import VERIFY_INTERVAL_S
from drcio_controller.knobs.writers import Knobs
from drcio_controller.kube.pod import Pod, QosClass
from drcio_controller.law.decision import Decision, Latency, View
from drcio_controller.law.law import UNBOUND_RATIO
from drcio_controller.law.static import StaticPolicy
from drcio_controller.loop import DEVICE_LINGER_S, Controller
from drcio_controller.pods.nodepod import NodePod
from drcio_controller.status.model import Effect, NodeStatus
from drcio_controller.testing.fakenode import DEVICE, FakeNode

Make = Callable[..., Pod]


class Rig:
    """A controller on a fake node, with a clock that the test moves."""

    def __init__(
        self,
        node: FakeNode,
        config: Config | None = None,
        latencies: Callable[[Mapping[str, NodePod], float], Mapping[str, Latency]] = lambda _pods, _now_s: {},
        clock: Callable[[], float] | None = None,
        write: Callable[[str, str], None] | None = None,
    ) -> None:
        self.node = node
        self.now_s = 0.0
        self.pods: dict[str, Pod] = {}
        self.cgroups: dict[str, str] = {}
        self.controller = Controller(
            node_name="node-1",
            roots=node.roots,
            knobs=Knobs(node.roots, Journal(None), write=write or node.write),
            config=config or Config(),
            latencies=latencies,
            clock=clock,
        )

    def add(self, pod: Pod) -> str:
        self.add_all([pod])
        return self.cgroups[pod.uid]

    def add_all(self, pods: Sequence[Pod]) -> None:
        for pod in pods:
            self.pods[pod.uid] = pod
            self.cgroups[pod.uid] = self.node.add_pod(pod.uid, pod.qos_class)
        self.controller.set_pods(self.pods)

    def tick(self, *busy: str, seconds: float = 0.5, latency_ms: float = 1.0) -> None:
        for uid in busy:
            self.node.do_io(
                self.cgroups[uid],
                read_bytes=1 << 20,
                ios=4,
                usage_us=200_000,
                latency_ms=latency_ms,
                in_flight=0 if latency_ms < 10 else 64,
            )
        self.now_s += seconds
        self.controller.tick(self.now_s)

    def status(self) -> NodeStatus:
        return self.controller.status(0.0, synced=True, config_error="")

    def effect(self, uid: str) -> Effect:
        (pod,) = (pod for pod in self.status().pods if pod.uid == uid)
        return pod.devices[0].effect


@pytest.fixture
def rig(node: FakeNode) -> Rig:
    return Rig(node)


def everything(node: FakeNode) -> dict[str, str]:
    """Return every writable file's text, to compare before and after."""
    names = ("io.weight", "io.bfq.weight", "io.max", "cgroup.subtree_control", "scheduler")
    return {str(path): path.read_text() for path in sorted(node.folder.rglob("*")) if path.name in names}


def test_labelled_pod_gets_its_weight_before_its_first_io(rig: Rig, make_pod: Make) -> None:
    cgroup = rig.add(make_pod("a", "high"))

    rig.controller.apply(0.0)

    assert rig.node.read(f"{cgroup}/io.weight") == "default 1000\n"


def test_unlabelled_pod_is_not_touched(rig: Rig, make_pod: Make) -> None:
    cgroup = rig.add(make_pod("a"))

    rig.tick("a")
    rig.tick("a")

    assert rig.node.read(f"{cgroup}/io.weight") == "default 100\n"
    assert rig.node.writes == []


def test_label_that_changes_is_followed_at_once(rig: Rig, make_pod: Make) -> None:
    cgroup = rig.add(make_pod("a", "low"))
    rig.tick()

    rig.controller.set_pods({"a": make_pod("a", "high")})
    rig.controller.apply(rig.now_s)
    assert rig.node.read(f"{cgroup}/io.weight") == "default 1000\n"

    rig.controller.set_pods({"a": make_pod("a")})
    rig.controller.apply(rig.now_s)
    assert rig.node.read(f"{cgroup}/io.weight") == "default 100\n"


def test_weights_are_made_effective_on_the_device_that_pods_use(rig: Rig, make_pod: Make) -> None:
    rig.add(make_pod("a", "high"))
    rig.tick("a")
    rig.tick("a")
    rig.tick("a")

    assert f"{DEVICE} enable=1 ctrl=user" in rig.node.read("io.cost.qos")
    assert "ctrl=user model=linear" in rig.node.read("io.cost.model")
    assert rig.effect("a") is Effect.EFFECTIVE


def test_device_that_was_just_found_binds_nobody(rig: Rig, make_pod: Make) -> None:
    rig.add(make_pod("a", "high"))
    rig.add(make_pod("b", "low"))
    rig.tick("a", "b")

    model = dict(word.split("=") for word in rig.node.read("io.cost.model").split() if "=" in word)
    assert rig.status().devices[0].state == "new"
    assert int(model["rbps"]) > 10 * GP3_BASELINE.bytes_per_s


def test_slices_weigh_what_their_pods_weigh(rig: Rig, make_pod: Make) -> None:
    rig.add(make_pod("a", "high", QosClass.BURSTABLE))
    rig.add(make_pod("b", "low", QosClass.BEST_EFFORT))
    for _ in range(3):
        rig.tick("a", "b")

    burstable, besteffort = rig.node.hierarchy.slices
    # Three quarters for the protected, on this device; everywhere else the class's weight stands.
    assert f"{DEVICE} 30\n" in rig.node.read(f"{burstable}/io.weight")
    assert f"{DEVICE} 10\n" in rig.node.read(f"{besteffort}/io.weight")
    high = rig.node.read(f"{rig.cgroups['a']}/io.weight")
    assert "default 1000\n" in high
    assert f"{DEVICE} 30\n" in high


def test_everything_is_as_found_at_the_end(node: FakeNode, make_pod: Make) -> None:
    rig = Rig(node)
    for uid, label, qos in (
        ("a", "high", QosClass.GUARANTEED),
        ("b", "medium", QosClass.BURSTABLE),
        ("c", "low", QosClass.BEST_EFFORT),
    ):
        rig.add(make_pod(uid, label, qos))
    before = everything(node)
    for _ in range(5):
        rig.tick("a", "b", "c", latency_ms=300)
    assert everything(node) != before
    node.let_drain()

    rig.controller.close()

    assert everything(node) == before
    assert f"{DEVICE} enable=0 ctrl=auto" in node.read("io.cost.qos")


@pytest.mark.parametrize(
    ("engine", "iocost", "refuse", "expected"),
    [
        (Engine.AUTO, True, set(), "iocost"),
        (Engine.AUTO, False, set(), "bfq"),
        (Engine.AUTO, True, {"io.cost.qos"}, "bfq"),
        (Engine.AUTO, False, {"scheduler"}, "iomax"),
        (Engine.BFQ, True, {"scheduler"}, "none"),
        (Engine.NONE, True, set(), "none"),
    ],
)
def test_best_engine_that_the_kernel_takes_is_used(
    tmp_path: Path, make_pod: Make, engine: Engine, iocost: bool, refuse: set[str], expected: str
) -> None:
    rig = Rig(FakeNode(tmp_path / "n", iocost=iocost, refuse=refuse), Config(engine=engine))
    rig.add(make_pod("a", "high"))
    rig.add(make_pod("b", "low"))
    for _ in range(3):
        rig.tick("a", "b")

    (device,) = rig.status().devices
    assert device.engine == expected
    assert (rig.effect("a") is Effect.INERT) == (expected == "none")
    assert (device.engine_note == "") == (expected == "iocost")


def test_bfq_weights_go_to_bfqs_own_files(tmp_path: Path, make_pod: Make) -> None:
    node = FakeNode(tmp_path / "n")
    rig = Rig(node, Config(policy=PolicyName.BFQ))
    cgroup = rig.add(make_pod("a", "high"))
    for _ in range(3):
        rig.tick("a")

    assert node.read(f"{cgroup}/io.bfq.weight") == "default 1000\n"
    assert "[bfq]" in (node.roots.sys / "block/nvme1n1/queue/scheduler").read_text()


def test_bfq_on_one_device_leaves_the_others_their_engine_and_weights(tmp_path: Path, make_pod: Make) -> None:
    """An NVMe disk that refuses iocost, a stacked one, must not take io.weight from all others."""
    node = FakeNode(tmp_path / "n")
    other = DeviceId("8:16")
    node.add_device(other, "sdb")
    (node.roots.sys / "block/sdb/dm").mkdir()
    rig = Rig(node, Config())
    high = rig.add(make_pod("a", "high"))
    rig.add(make_pod("b", "low", QosClass.BEST_EFFORT))
    for _ in range(3):
        for device in (DEVICE, other):
            for uid in ("a", "b"):
                node.do_io(rig.cgroups[uid], read_bytes=1 << 20, device=device)
        rig.tick()

    assert {device.name: device.engine for device in rig.status().devices} == {
        "nvme1n1": "iocost",
        "sdb": "bfq",
    }
    # Under iocost the law gives the protected three quarters of the device; under BFQ classes stand.
    assert node.read(f"{high}/io.weight") == f"default 1000\n{DEVICE} 30\n"
    assert node.read(f"{high}/io.bfq.weight") == "default 1000\n"
    burstable = node.hierarchy.slices[0]
    assert f"{DEVICE} 30" in node.read(f"{burstable}/io.weight")
    assert other not in node.read(f"{burstable}/io.weight")
    assert f"{other} 1000" in node.read(f"{burstable}/io.bfq.weight")


def test_weight_only_policy_is_inert_and_says_so(node: FakeNode, make_pod: Make) -> None:
    rig = Rig(node, Config(policy=PolicyName.WEIGHT_ONLY))
    cgroup = rig.add(make_pod("a", "high"))
    for _ in range(3):
        rig.tick("a")

    assert node.read(f"{cgroup}/io.weight") == "default 1000\n"
    assert [file for file, _ in node.writes if "slice/io.weight" not in file and file != "io.weight"] == []
    assert rig.effect("a") is Effect.INERT


@pytest.mark.parametrize("engine", [Engine.IOMAX, Engine.NONE])
def test_no_weight_for_one_device_is_written_without_an_engine_that_takes_it(
    node: FakeNode, make_pod: Make, engine: Engine
) -> None:
    rig = Rig(node, Config(engine=engine))
    rig.add(make_pod("a", "high"))
    for _ in range(3):
        rig.tick("a")

    assert not [text for file, text in node.writes if file.endswith("io.weight") and DEVICE in text]


def test_iomax_policy_caps_lower_classes_together(node: FakeNode, make_pod: Make) -> None:
    volume = VolumeProfile(iops=3000, mib_s=125)
    rig = Rig(node, Config(policy=PolicyName.IOMAX, iomax_percent=10, volumes=(volume,)))
    high = rig.add(make_pod("a", "high"))
    lows = [rig.add(make_pod(uid, "low")) for uid in ("b", "c")]
    for _ in range(3):
        rig.tick("a", "b", "c")

    assert node.read(f"{high}/io.max") == ""
    each = round(125 * 2**20 * 0.10 / 2)
    for low in lows:
        assert f"rbps={each} wbps={each} riops=150 wiops=150" in node.read(f"{low}/io.max")


def test_queue_in_the_device_lowers_the_budget_and_is_told_about(node: FakeNode, make_pod: Make) -> None:
    rig = Rig(node, Config(volumes=(VolumeProfile(iops=60, mib_s=4),)))
    rig.add(make_pod("a", "high"))
    rig.add(make_pod("b", "low", QosClass.BEST_EFFORT))
    for _ in range(6):
        rig.tick("a", "b")
    calm = rig.status().devices[0].budget_ratio

    rig.tick("a", "b", latency_ms=400)

    (device,) = rig.status().devices
    assert device.state == "drain"
    assert device.budget_ratio < calm
    assert "queue" in device.reason


def test_controller_taken_out_behind_its_back_is_turned_on_again(rig: Rig, make_pod: Make) -> None:
    cgroup = rig.add(make_pod("a", "high", QosClass.BEST_EFFORT))
    rig.tick("a")
    level = rig.node.hierarchy.slices[1]
    rig.node.write(f"{rig.node.roots.cgroup}/{level}/cgroup.subtree_control", "-io")

    rig.tick(seconds=VERIFY_INTERVAL_S)
    rig.tick(seconds=VERIFY_INTERVAL_S)

    assert "io" in rig.node.read(f"{level}/cgroup.subtree_control").split()
    assert rig.node.read(f"{cgroup}/io.weight") == "default 1000\n"
    assert rig.controller.tally.foreign_changes["cgroup.subtree_control"] == 1


def test_engine_turned_off_behind_its_back_is_turned_on_again(rig: Rig, make_pod: Make) -> None:
    rig.add(make_pod("a", "high"))
    rig.tick("a")
    rig.tick("a")
    rig.node.write(f"{rig.node.roots.cgroup}/io.cost.qos", f"{DEVICE} enable=0")

    rig.tick("a", seconds=VERIFY_INTERVAL_S)

    assert "enable=1" in rig.node.read("io.cost.qos")
    assert rig.controller.tally.foreign_changes["io.cost.qos"] == 1


def test_pod_whose_cgroup_is_gone_is_no_error(rig: Rig, make_pod: Make) -> None:
    rig.add(make_pod("a", "high"))
    rig.tick("a")
    rig.node.remove_pod(rig.cgroups["a"])

    rig.tick()

    assert rig.status().problems == ()
    assert not rig.controller.tally.failures


def test_device_that_vanished_is_let_go(rig: Rig, make_pod: Make) -> None:
    rig.add(make_pod("a", "high"))
    rig.tick("a")
    rig.tick("a")
    (rig.node.roots.sys / "dev/block" / DEVICE).unlink()
    rig.controller._observer.close()  # a real descriptor would answer ENODEV by itself

    rig.tick()

    assert rig.status().devices == ()


def test_device_is_given_back_some_time_after_its_last_pod(rig: Rig, make_pod: Make) -> None:
    rig.add(make_pod("a", "high"))
    rig.tick("a")
    rig.tick("a")
    rig.controller.set_pods({})

    rig.tick()
    assert rig.status().devices

    rig.tick(seconds=DEVICE_LINGER_S + 1)
    assert rig.status().devices == ()
    assert "enable=0" in rig.node.read("io.cost.qos")


def test_thousand_pods_come_and_go_and_leave_nothing(rig: Rig, make_pod: Make) -> None:
    before = everything(rig.node)
    for wave in range(20):
        uids = [f"{wave}-{index}" for index in range(50)]
        rig.add_all([make_pod(uid, ("high", "medium", "low")[index % 3]) for index, uid in enumerate(uids)])
        rig.tick(*uids[:5])
        for uid in uids:
            rig.node.remove_pod(rig.cgroups.pop(uid))
            del rig.pods[uid]
        rig.controller.set_pods(rig.pods)
        rig.tick()
    rig.controller.close()

    assert everything(rig.node) == before
    assert rig.controller.tally.tick_errors == 0


def test_volume_that_a_new_configuration_tells_of_is_believed(rig: Rig, make_pod: Make) -> None:
    rig.add_all([make_pod("a", "high"), make_pod("b", "low")])
    for _ in range(4):
        rig.tick("a", "b")
    assert rig.status().devices[0].budget_ratio >= UNBOUND_RATIO / 2, "nobody said what it can do"
    told = VolumeProfile(iops=6000, mib_s=250.0)

    rig.controller.set_config(Config(volumes=(told,)))
    rig.tick("a", "b")

    (device,) = rig.status().devices
    assert (device.profile_iops, device.profile_source) == (6000, "configured")
    assert device.budget_ratio <= 1.0


def test_new_configuration_of_another_volume_leaves_what_was_learned(rig: Rig, make_pod: Make) -> None:
    rig.add_all([make_pod("a", "high"), make_pod("b", "low")])
    for _ in range(4):
        rig.tick("a", "b")
    policies = [state.policy for state in rig.controller._devices.values()]

    rig.controller.set_config(Config(volumes=(VolumeProfile(iops=6000, mib_s=250.0, name="sdz"),)))

    assert [state.policy for state in rig.controller._devices.values()] == policies


def test_policy_is_changed_by_a_new_configuration(rig: Rig, make_pod: Make) -> None:
    cgroup = rig.add(make_pod("a", "low"))
    rig.add(make_pod("b", "high"))
    rig.tick("a", "b")
    rig.tick("a", "b")

    rig.controller.set_config(Config(policy=PolicyName.IOMAX, iomax_percent=50))
    for _ in range(3):
        rig.tick("a", "b")

    assert "rbps=" in rig.node.read(f"{cgroup}/io.max")
    assert "enable=0" in rig.node.read("io.cost.qos")


class Seen(StaticPolicy):
    """Keeps what it is shown."""

    def __init__(self, views: list[View]) -> None:
        self._views = views

    def decide(self, view: View) -> Decision:
        self._views.append(view)
        return super().decide(view)


def test_instance_limit_and_what_other_volumes_use_reach_the_policy(node: FakeNode, make_pod: Make) -> None:
    other = DeviceId("259:7")
    node.add_device(other, "nvme2n1", "vol0bbbbbbbbbbbbbbbb")
    views: list[View] = []
    rig = Rig(node)
    rig.controller.set_instance_type("m6i.xlarge")
    rig.add(make_pod("a", "high"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("drcio_controller.loop.make_policy", lambda config: Seen(views))
        for _ in range(3):
            node.do_io(rig.cgroups["a"], read_bytes=50 << 20, device=other)
            rig.tick("a", seconds=1.0)

    (view,) = [view for view in views[-2:] if view.window.device == DEVICE]
    assert view.instance is not None
    assert view.instance.limit == limit_of("m6i.xlarge")
    assert (view.instance.volumes, view.instance.others_bytes_per_s) == (2, 50 << 20)


def test_rate_is_taken_over_the_time_between_two_readings(node: FakeNode, make_pod: Make) -> None:
    """What a tick does before it reads the counters takes long where the CPU is busy."""
    views: list[View] = []
    read_at_s = iter((0.5, 1.0, 1.53, 2.0))
    rig = Rig(node, clock=lambda: next(read_at_s))
    rig.add(make_pod("a", "high"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("drcio_controller.loop.make_policy", lambda config: Seen(views))
        for _ in range(4):
            rig.tick("a")

    assert [view.window.span_s for view in views] == pytest.approx([0.53, 0.47])
    assert views[-1].window.flows[0].bytes_per_s == pytest.approx((1 << 20) / 0.47)


def test_how_long_a_write_froze_the_queue_reaches_the_policy(
    node: FakeNode, make_pod: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(path: str, text: str) -> None:
        if "io.cost." in path:
            time.sleep(0.05)
        node.write(path, text)

    views: list[View] = []
    monkeypatch.setattr("drcio_controller.loop.make_policy", lambda config: Seen(views))
    rig = Rig(node, write=slowly)
    rig.add(make_pod("a", "high"))
    for _ in range(8):
        rig.tick("a")

    assert 0.05 <= views[-1].froze_s < 5.0


@pytest.mark.parametrize(
    ("model", "serial", "expected"),
    [
        ("nvme0n1", "vol0aaaaaaaaaaaaaaaa", (2, 50 << 20, 1)),
        ("nvme0n1", "AWS1234567890ABCDEF", (1, 0, 0)),
        ("dm-0", "", (1, 0, 0)),
    ],
)
def test_volume_that_no_managed_pod_uses_takes_its_part_of_the_instances_limit(
    node: FakeNode, make_pod: Make, model: str, serial: str, expected: tuple[int, int, int]
) -> None:
    """The root disk under image pulls, an unlabelled pod's volume: EBS counts all of them together."""
    root = DeviceId("259:0")
    node.add_device(root, model, serial)
    views: list[View] = []
    rig = Rig(node)
    rig.controller.set_instance_type("t3.xlarge")
    rig.add(make_pod("a", "high"))
    rig.add(make_pod("plain"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("drcio_controller.loop.make_policy", lambda config: Seen(views))
        for _ in range(3):
            node.do_io(rig.cgroups["plain"], read_bytes=50 << 20, device=root)
            rig.tick("a", seconds=1.0)
        loads = [views[-1].instance]
        rig.tick("a", seconds=1.0)
        loads.append(views[-1].instance)

    busy, idle = loads
    assert busy is not None
    assert (busy.volumes, busy.others_bytes_per_s, busy.others_ios_per_s) == expected
    assert idle is not None
    assert (idle.volumes, idle.others_bytes_per_s) == (1, 0)


def test_step_policy_moves_weights_by_latency_over_target(node: FakeNode, make_pod: Make) -> None:
    measured = {"a": Latency(measured_s=0.2, limit_s=0.1)}
    rig = Rig(node, Config(policy=PolicyName.STEP), latencies=lambda pods, now_s: measured)
    high = rig.add(make_pod("a", "high"))
    low = rig.add(make_pod("b", "low"))
    for _ in range(30):
        rig.tick("a", "b")
    assert node.read(f"{high}/io.weight") == "default 900\n"
    assert node.read(f"{low}/io.weight") == "default 100\n"

    measured["a"] = Latency(measured_s=0.01, limit_s=0.1)
    for _ in range(30):
        rig.tick("a", "b")
    assert node.read(f"{high}/io.weight") == "default 500\n"


def test_kernel_without_the_io_controller_is_said_to_be_so(rig: Rig, make_pod: Make) -> None:
    rig.add(make_pod("a", "high"))
    for path in rig.node.roots.cgroup.rglob("io.*"):
        path.unlink()
    rig.node.refuse.add("cgroup.subtree_control")
    for path in rig.node.roots.cgroup.rglob("cgroup.subtree_control"):
        path.write_text("cpu memory\n")

    rig.tick()

    assert any("cgroup.subtree_control[io]" in problem for problem in rig.status().problems)
