"""Knobs are made to hold, kept so, told about, and put back; also across a crash."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from drcio_controller.errors import Busy, NotSupported, ReadBackMismatch
from drcio_controller.kernel.knob import Knob
from drcio_controller.kernel.parse import Limits
from drcio_controller.knobs import knobset
from drcio_controller.knobs.journal import FILE_NAME, UNREAD_NAME, Journal
from drcio_controller.knobs.knobset import CALM_S, CONTEST_PAUSE_LIMIT_S, REWRITE_LIMIT, VERIFY_INTERVAL_S
from drcio_controller.knobs.writers import Knobs
from drcio_controller.kube.pod import QosClass
from drcio_controller.testing.fakenode import DEVICE, FakeNode

BOOT = "boot-1"


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def start(node: FakeNode, state_dir: Path | None = None, boot_id: str = BOOT) -> Knobs:
    return Knobs(node.roots, Journal(state_dir, boot_id=boot_id), write=node.write)


def weight_of(node: FakeNode, uid: str = "a") -> Knob:
    return Knob(f"{node.add_pod(uid, QosClass.BURSTABLE)}/io.weight")


def held(node: FakeNode) -> tuple[Knob, Knobs]:
    """Return a pod's weight, and the set that made it 1000 at 0 s."""
    knob, knobs = weight_of(node), start(node)
    knobs.reconcile({knob: "1000"}, 0.0)
    return knob, knobs


@pytest.fixture
def looked_at_in_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knobset, "VERIFY_INTERVAL_S", 0.0)


def test_wanted_knob_is_written_and_put_back(node: FakeNode) -> None:
    knob = weight_of(node)
    knobs = start(node)

    assert knobs.reconcile({knob: "1000"}, 0.0).written == (knob,)
    assert node.read(knob.file) == "default 1000\n"

    assert knobs.restore().unreleased == ()
    assert node.read(knob.file) == "default 100\n"


def test_knob_that_holds_already_is_not_written(node: FakeNode) -> None:
    knobs = start(node)
    knob = weight_of(node)
    knobs.reconcile({knob: "100"}, 0.0)

    assert node.writes == []


def test_knob_that_is_not_wanted_any_more_is_put_back(node: FakeNode) -> None:
    knob = weight_of(node)
    knobs = start(node)
    knobs.reconcile({knob: "10"}, 0.0)

    knobs.reconcile({}, 0.5)

    assert node.read(knob.file) == "default 100\n"


@pytest.mark.parametrize(
    ("file", "value", "after"),
    [
        ("kubepods.slice/kubepods-burstable.slice/io.weight", "500", "default 100\n"),
        ("kubepods.slice/io.max", Limits(rbps=1000).render(), ""),
    ],
)
def test_entry_of_one_device_is_removed_again(node: FakeNode, file: str, value: str, after: str) -> None:
    knobs = start(node)
    knob = Knob(file, DEVICE)
    knobs.reconcile({knob: value}, 0.0)
    assert DEVICE in node.read(file)

    knobs.restore()

    assert node.read(file) == after


def test_controller_that_was_on_is_left_on_and_one_that_was_off_is_turned_off_again(node: FakeNode) -> None:
    burstable, besteffort = (Knob(f"{path}/cgroup.subtree_control", "io") for path in node.hierarchy.slices)
    node.write(f"{node.roots.cgroup}/{besteffort.file}", "-io")
    knobs = start(node)

    knobs.reconcile({burstable: "on", besteffort: "on"}, 0.0)
    assert "io" in node.read(besteffort.file)
    knobs.restore()

    assert "io" in node.read(burstable.file).split()
    assert "io" not in node.read(besteffort.file).split()


def test_write_that_does_not_take_is_reported(node: FakeNode) -> None:
    knob = weight_of(node)
    node.ignore.add("io.weight")

    (failure,) = start(node).reconcile({knob: "1000"}, 0.0).failures

    assert isinstance(failure.error, ReadBackMismatch)
    assert "'1000'" in str(failure.error)


def test_read_only_file_system_is_reported_and_nothing_else_suffers(node: FakeNode) -> None:
    weight, limit = weight_of(node), Knob("kubepods.slice/io.max", DEVICE)
    node.refuse.add("io.max")

    result = start(node).reconcile({limit: Limits(rbps=1).render(), weight: "10"}, 0.0)

    assert [type(failure.error) for failure in result.failures] == [NotSupported]
    assert result.written == (weight,)


def test_cgroup_that_vanished_between_list_and_write_is_no_error_at_the_end(node: FakeNode) -> None:
    cgroup = node.add_pod("a", QosClass.BURSTABLE)
    knob = Knob(f"{cgroup}/io.weight")
    knobs = start(node)
    knobs.reconcile({knob: "10"}, 0.0)

    node.remove_pod(cgroup)
    knobs.reconcile({knob: "1000"}, 0.5)

    assert knobs.restore().unreleased == ()


@pytest.mark.usefixtures("looked_at_in_each_pass")
def test_cgroup_made_anew_at_the_same_path_is_written_and_nobody_is_blamed(node: FakeNode) -> None:
    cgroup = node.add_pod("a", QosClass.BURSTABLE)
    knob = Knob(f"{cgroup}/io.weight")
    knobs = start(node)
    knobs.reconcile({knob: "10"}, 0.0)
    node.remove_pod(cgroup)
    (node.folder / "taken-inode").touch()
    node.add_pod("a", QosClass.BURSTABLE)

    result = knobs.reconcile({knob: "10"}, 0.5)

    assert node.read(knob.file) == "default 10\n"
    assert result.foreign == ()


def test_change_behind_its_back_is_undone_and_reported(node: FakeNode) -> None:
    knob, knobs = held(node)
    node.write(f"{node.roots.cgroup}/{knob.file}", "default 42")

    (change,) = knobs.reconcile({knob: "1000"}, VERIFY_INTERVAL_S).foreign

    assert (change.wrote, change.found, change.contested) == ("1000", "42", False)
    assert node.read(knob.file) == "default 1000\n"


@pytest.mark.usefixtures("looked_at_in_each_pass")
def test_value_found_first_is_put_back_though_somebody_changed_it_meanwhile(node: FakeNode) -> None:
    knob, knobs = held(node)
    node.write(f"{node.roots.cgroup}/{knob.file}", "default 42")
    knobs.reconcile({knob: "1000"}, 0.5)

    knobs.restore()

    assert node.read(knob.file) == "default 100\n"


@pytest.mark.usefixtures("looked_at_in_each_pass")
def test_value_of_somebody_who_insists_is_left_at_the_end(node: FakeNode) -> None:
    knob, knobs = held(node)
    for look in range(REWRITE_LIMIT + 1):
        node.write(f"{node.roots.cgroup}/{knob.file}", "default 42")
        knobs.reconcile({knob: "1000"}, float(look))

    knobs.restore()

    assert node.read(knob.file) == "default 42\n"


def test_change_that_nobody_looked_at_before_the_end_is_left_as_found(node: FakeNode) -> None:
    knob, knobs = held(node)
    node.write(f"{node.roots.cgroup}/{knob.file}", "default 42")

    knobs.restore()

    assert node.read(knob.file) == "default 42\n"


def insist(node: FakeNode, knobs: Knobs, knob: Knob, at_s: float, value: str = "42") -> bool:
    """Let somebody else write, look, and say whether the knob holds ours after that."""
    node.write(f"{node.roots.cgroup}/{knob.file}", f"default {value}")
    knobs.reconcile({knob: "1000"}, at_s)
    return node.read(knob.file) == "default 1000\n"


@pytest.mark.usefixtures("looked_at_in_each_pass")
def test_foreign_writes_far_apart_are_undone_at_once_however_many(node: FakeNode) -> None:
    knob, knobs = held(node)

    assert all(insist(node, knobs, knob, (CALM_S + 1) * turn) for turn in range(1, 3 * REWRITE_LIMIT))


@pytest.mark.usefixtures("looked_at_in_each_pass")
def test_knob_that_somebody_keeps_changing_is_left_to_them_for_ever_longer(node: FakeNode) -> None:
    knob, knobs = held(node)
    now_s, pauses = 0.0, []
    for turn in range(REWRITE_LIMIT + 10):
        began_s = now_s
        ours = insist(node, knobs, knob, now_s)
        assert ours == (turn < REWRITE_LIMIT)
        assert (knob in knobs.held) == ours
        while not ours:
            now_s += 0.5
            ours = bool(knobs.reconcile({knob: "1000"}, now_s).foreign)
            ours = ours and node.read(knob.file) == "default 1000\n"
        pauses.append(now_s - began_s)
        now_s += 0.5

    assert pauses[REWRITE_LIMIT : REWRITE_LIMIT + 4] == [1, 2, 4, 8]
    assert pauses[-1] == CONTEST_PAUSE_LIMIT_S


@pytest.mark.usefixtures("looked_at_in_each_pass")
def test_value_that_stays_with_somebody_else_is_told_once(node: FakeNode) -> None:
    knob, knobs = held(node)
    for _ in range(REWRITE_LIMIT + 5):
        insist(node, knobs, knob, 0.0)

    assert knobs.reconcile({knob: "1000"}, 0.1).foreign == ()


@pytest.mark.usefixtures("looked_at_in_each_pass")
def test_somebody_who_gives_up_leaves_the_knob_to_us(node: FakeNode) -> None:
    knob, knobs = held(node)
    for _ in range(REWRITE_LIMIT + 5):
        insist(node, knobs, knob, 0.0)
    node.write(f"{node.roots.cgroup}/{knob.file}", "default 1000")

    knobs.reconcile({knob: "1000"}, 0.1)
    assert knobs.held == {knob: "1000"}


def busy_level(node: FakeNode) -> Knob:
    """Return a level whose controller was turned on and cannot be turned off for now."""
    knob = Knob(f"{node.hierarchy.slices[1]}/cgroup.subtree_control", "io")
    node.write(f"{node.roots.cgroup}/{knob.file}", "-io")
    return knob


def test_knob_that_is_busy_is_put_back_as_soon_as_it_is_free(node: FakeNode, state_dir: Path) -> None:
    knob = busy_level(node)
    knobs = start(node, state_dir)
    knobs.reconcile({knob: "on"}, 0.0)
    node.busy.add(knob.file)

    (unreleased,) = knobs.reconcile({}, 0.5).unreleased
    assert isinstance(unreleased.error, Busy)
    assert "io" in node.read(knob.file).split()

    node.busy.clear()
    assert knobs.reconcile({}, 1.0).unreleased == ()
    assert "io" not in node.read(knob.file).split()


def test_end_waits_for_what_is_busy_and_leaves_the_rest_to_the_next(node: FakeNode, state_dir: Path) -> None:
    knob, weight = busy_level(node), weight_of(node)
    knobs = start(node, state_dir)
    knobs.reconcile({knob: "on", weight: "10"}, 0.0)
    node.busy.add(knob.file)
    now_s = 0.0

    def wait(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    left = knobs.restore(patience_s=5, clock=lambda: now_s, sleep=wait).unreleased

    assert [failure.knob for failure in left] == [knob]
    assert now_s >= 5
    assert node.read(weight.file) == "default 100\n"
    node.busy.clear()
    assert start(node, state_dir).restore().unreleased == ()
    assert "io" not in node.read(knob.file).split()


def test_end_stops_waiting_when_it_is_free_or_gone(node: FakeNode, state_dir: Path) -> None:
    knob = busy_level(node)
    knobs = start(node, state_dir)
    knobs.reconcile({knob: "on"}, 0.0)
    node.busy.add(knob.file)
    looks = 0

    def free(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            node.busy.clear()

    assert knobs.restore(patience_s=5, clock=lambda: 0.0, sleep=free).unreleased == ()
    assert looks == 3


def test_of_a_limit_only_what_changes_is_written(node: FakeNode) -> None:
    knob = Knob("kubepods.slice/io.max", DEVICE)
    knobs = start(node)
    knobs.reconcile({knob: Limits(rbps=1000, wbps=2000).render()}, 0.0)
    knobs.reconcile({knob: Limits(rbps=1000, wbps=3000).render()}, 0.5)
    knobs.reconcile({knob: Limits(rbps=1000, wbps=3000).render()}, 1.0)
    knobs.restore()

    assert [text for _, text in node.writes] == [
        f"{DEVICE} rbps=1000 wbps=2000",
        f"{DEVICE} wbps=3000",
        f"{DEVICE} rbps=max wbps=max",
    ]
    assert node.read(knob.file) == ""


def test_dry_run_writes_nothing(node: FakeNode) -> None:
    knob = weight_of(node)
    knobs = Knobs(node.roots, Journal(None), dry_run=True, write=node.write)

    knobs.reconcile({knob: "1000"}, 0.0)
    knobs.restore()

    assert node.writes == []


def test_process_after_a_crash_puts_back_what_the_first_one_found(node: FakeNode, state_dir: Path) -> None:
    knob = weight_of(node)
    start(node, state_dir).reconcile({knob: "1000"}, 0.0)

    second = start(node, state_dir)
    second.reconcile({knob: "500"}, 0.0)
    second.restore()

    assert node.read(knob.file) == "default 100\n"


def test_process_after_a_crash_puts_back_what_it_does_not_want_itself(
    node: FakeNode, state_dir: Path
) -> None:
    knob = weight_of(node)
    start(node, state_dir).reconcile({knob: "1000"}, 0.0)

    start(node, state_dir).reconcile({}, 0.0)

    assert node.read(knob.file) == "default 100\n"


def test_journal_of_another_boot_means_nothing(node: FakeNode, state_dir: Path) -> None:
    knob = weight_of(node)
    start(node, state_dir).reconcile({knob: "1000"}, 0.0)

    second = start(node, state_dir, boot_id="boot-2")
    second.restore()

    assert node.read(knob.file) == "default 1000\n"


def journal_text(schema: str = "drcio.journal/1", **changes: object) -> str:
    entry = {"file": "a/io.weight", "key": "default", "in_sysfs": False, "inode": 1, "before": "default 1"}
    return json.dumps({"schema": schema, "boot_id": BOOT, "entries": [entry | changes]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"schema": "drcio.journal/1"}',
        "\x00" * 10,
        "[" * 100_000,
        journal_text()[:-9],
        journal_text("drcio.journal/2"),
        journal_text(file="a/io.latency"),
        journal_text(file="../../etc/passwd"),
        journal_text(file="../io.weight"),
        journal_text(file="/io.weight"),
        journal_text(inode="1"),
        journal_text(inode=float("inf")),
        json.dumps({"schema": "drcio.journal/1", "boot_id": BOOT, "entries": None}),
        json.dumps({"schema": "drcio.journal/1", "boot_id": BOOT, "entries": ["x", 1, None]}),
    ],
)
def test_journal_that_cannot_be_read_counts_as_none_and_is_kept_aside(
    node: FakeNode, state_dir: Path, text: str
) -> None:
    """A newer version's, a spoiled one: the agent works, and what stood there is not lost."""
    (state_dir / FILE_NAME).write_text(text)
    knob = weight_of(node)

    assert Journal(state_dir, boot_id=BOOT).knobs() == []
    assert (state_dir / FILE_NAME).read_text() == text
    knobs = start(node, state_dir)
    assert knobs.reconcile({knob: "1000"}, 0.0).written == (knob,)
    assert (state_dir / UNREAD_NAME).read_text() == text
    knobs.restore()
    assert node.read(knob.file) == "default 100\n"


def test_entry_that_cannot_be_read_costs_no_other_its_way_back(node: FakeNode, state_dir: Path) -> None:
    knob = weight_of(node)
    start(node, state_dir).reconcile({knob: "1000"}, 0.0)
    document = json.loads((state_dir / FILE_NAME).read_text())
    document["entries"].append(document["entries"][0] | {"file": "kubepods.slice/io.latency"})
    (state_dir / FILE_NAME).write_text(json.dumps(document))

    start(node, state_dir).restore()

    assert node.read(knob.file) == "default 100\n"


def test_what_cannot_be_noted_is_not_written(node: FakeNode, tmp_path: Path) -> None:
    """The node's /run is full, or read-only: without its way back there is no change."""
    knob, folder = weight_of(node), tmp_path / "later"
    knobs = start(node, folder)

    (failure,) = knobs.reconcile({knob: "1000"}, 0.0).failures
    assert failure.knob == knob
    assert "cannot note" in str(failure.error)
    assert node.writes == []

    folder.mkdir()
    assert knobs.reconcile({knob: "1000"}, 0.5).written == (knob,)


def test_journal_that_cannot_be_written_at_the_end_is_no_obstacle(node: FakeNode, state_dir: Path) -> None:
    knob = weight_of(node)
    knobs = start(node, state_dir)
    knobs.reconcile({knob: "1000"}, 0.0)
    shutil.rmtree(state_dir)

    assert knobs.restore().unreleased == ()
    assert node.read(knob.file) == "default 100\n"


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM, errno.EIO, errno.EINTR])
def test_put_back_that_fails_for_now_is_left_to_the_next(
    node: FakeNode, state_dir: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    knob = weight_of(node)
    start(node, state_dir).reconcile({knob: "1000"}, 0.0)
    with monkeypatch.context() as patch:
        patch.setattr("drcio_controller.kernel.files.os.open", failing(code))
        (failure,) = start(node, state_dir).restore().unreleased
    assert failure.kept

    assert start(node, state_dir).restore().unreleased == ()
    assert node.read(knob.file) == "default 100\n"


def failing(code: int) -> Callable[..., int]:
    def fail(*arguments: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


def test_journal_is_written_before_the_knob(node: FakeNode, state_dir: Path) -> None:
    knob = weight_of(node)
    node.refuse.add("io.weight")

    start(node, state_dir).reconcile({knob: "1000"}, 0.0)

    assert Journal(state_dir, boot_id=BOOT).knobs() == [knob]


def test_iocost_is_enabled_after_its_model_and_disabled_before_it(node: FakeNode) -> None:
    model, qos = Knob("io.cost.model", DEVICE), Knob("io.cost.qos", DEVICE)
    knobs = start(node)

    knobs.reconcile({model: "ctrl=user model=linear rbps=1", qos: "enable=1 ctrl=user"}, 0.0)
    knobs.restore()

    assert node.writes == [
        ("io.cost.model", f"{DEVICE} ctrl=user model=linear rbps=1"),
        ("io.cost.qos", f"{DEVICE} enable=1 ctrl=user"),
        ("io.cost.qos", f"{DEVICE} enable=0 ctrl=auto"),
        ("io.cost.model", f"{DEVICE} ctrl=auto"),
    ]


def test_settings_that_an_administrator_had_made_come_back(node: FakeNode) -> None:
    qos = Knob("io.cost.qos", DEVICE)
    node.write(
        f"{node.roots.cgroup}/io.cost.qos", f"{DEVICE} enable=1 ctrl=user rlat=25000 min=50.00 max=150.00"
    )
    before = node.read("io.cost.qos")
    knobs = start(node)

    knobs.reconcile({qos: "enable=1 ctrl=user rlat=5000 min=100.00 max=100.00"}, 0.0)
    knobs.restore()

    assert node.read("io.cost.qos") == before
