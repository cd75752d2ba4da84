"""Seeds are shared out among guests; what goes wrong on one costs its seed and no other."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from experiments.fuzz.guests import RAW_FOLDER, Guests, Lane
from experiments.fuzz.mix import Mix
from experiments.fuzz.todo import Todo
from experiments.records.jsonfields import JsonObject
from experiments.targets import Progress
from node_twin.errors import BootError, TwinError


class Silent:
    """A lane that nobody watches."""

    def doing(self, what: str) -> None: ...
    def within_run(self, elapsed_s: float, total_s: float) -> None: ...
    def begin_run(self, text: str) -> None: ...
    def end(self) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class Machine:
    """Boots guests that fail where a test says so, and counts those that are up."""

    failing: frozenset[tuple[int, str]] = frozenset()
    boots_fail: int = 0
    blocking: frozenset[int] = frozenset()
    boots: int = 0
    up: int = 0
    blocked: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def boot(self, _lane: Lane, _number: int) -> Iterator[FakeGuest]:
        with self.lock:
            self.boots += 1
            if self.boots_fail:
                self.boots_fail -= 1
                raise BootError("it did not come up")
            self.up += 1
        try:
            yield FakeGuest(self)
        finally:
            with self.lock:
                self.up -= 1


@dataclass
class FakeGuest:
    machine: Machine
    stopped: threading.Event = field(default_factory=threading.Event)

    def warm_up(self, mix: Mix) -> None: ...

    def run(self, mix: Mix, arm: str, progress: Progress) -> tuple[JsonObject, JsonObject]:
        if (mix.seed, arm) in self.machine.failing:
            raise TwinError("the guest died")
        if mix.seed in self.machine.blocking:
            self.machine.blocked.set()
            assert self.stopped.wait(30)
            raise TwinError("the guest was stopped")
        figures: JsonObject = {"p95_ms": 1.0, "ios": 10, "cost": {"guest_s": 1.0, "host_s": 1.0}}
        return figures, {"at_s": [mix.seed]}

    def environment(self) -> JsonObject:
        return {"kernel": "6.12"}

    def stop(self) -> None:
        self.stopped.set()


def todo(*seeds: int) -> list[Todo]:
    return [Todo(seed, ("alone", "none")) for seed in seeds]


def guests(machine: Machine, output: Path, *seeds: int, lanes: int = 1) -> Guests:
    return Guests(todo(*seeds), output, [Silent() for _ in range(lanes)], machine.boot)


@pytest.mark.parametrize("lanes", [1, 2])
def test_every_arm_of_every_seed_is_run_once_and_its_raw_data_kept(tmp_path: Path, lanes: int) -> None:
    machine = Machine()
    records = list(guests(machine, tmp_path, 1, 2, 3, lanes=lanes).records())

    assert sorted((cast(int, record["seed"]), *cast(JsonObject, record["arms"])) for record in records) == [
        (seed, arm) for seed in (1, 2, 3) for arm in ("alone", "none")
    ]
    assert machine.boots <= lanes, "one guest serves many seeds"
    assert machine.up == 0
    with gzip.open(tmp_path / RAW_FOLDER / "2-none.json.gz", "rt") as file:
        assert json.load(file) == {"at_s": [2]}


@pytest.mark.parametrize("lanes", [1, 2])
def test_error_costs_the_rest_of_its_seed_and_a_new_guest(tmp_path: Path, lanes: int) -> None:
    machine = Machine(failing=frozenset({(2, "alone")}))
    records = list(guests(machine, tmp_path, 1, 2, 3, lanes=lanes).records())

    assert [record["errors"] for record in records if "errors" in record] == [{"alone": "the guest died"}]
    assert {record["seed"] for record in records if "arms" in record} == {1, 3}
    assert machine.boots >= 2
    assert machine.up == 0


def test_boot_that_fails_once_is_tried_again(tmp_path: Path) -> None:
    machine = Machine(boots_fail=1)
    assert len(list(guests(machine, tmp_path, 1).records())) == 2


@pytest.mark.parametrize("lanes", [1, 2])
def test_machine_that_boots_no_guest_ends_it(tmp_path: Path, lanes: int) -> None:
    machine = Machine(boots_fail=100)
    with pytest.raises(BootError):
        list(guests(machine, tmp_path, 1, 2, 3, 4, lanes=lanes).records())
    assert machine.up == 0


@pytest.mark.parametrize("lanes", [1, 2])
def test_interruption_leaves_no_guest(tmp_path: Path, lanes: int) -> None:
    machine = Machine(blocking=frozenset({2} if lanes > 1 else ()))
    records = guests(machine, tmp_path, 1, 2, 3, 4, lanes=lanes).records()
    next(records)
    if lanes > 1:
        assert machine.blocked.wait(30)
    records.close()  # what an interruption of whoever takes them does
    assert machine.up == 0
