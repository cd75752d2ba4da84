"""Seeds on node twins: one guest for many of them, up to two guests side by side, one lost seed at a time."""

from __future__ import annotations

import contextlib
import gzip
import json
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, cast

from experiments.fuzz.mix import Mix, draw
from experiments.fuzz.on_twin import OnTwin, fuzz_twin
from experiments.fuzz.todo import Todo
from experiments.records.jsonfields import JsonObject
from experiments.targets import Progress
from experiments.targets.node import Node
from node_twin.errors import TwinError
from node_twin.host.prepare import KvmChoice
from node_twin.host.session import booting

RAW_FOLDER: Final = "raw"
_ENDS_WITHIN_S: Final = 10.0
"""A lane whose guest is just booting ends, guest and all, with this process."""
_BOOTS_FAILED_MOST: Final = 2
"""In a row: then it is the machine, and no seed's fault."""


class Lane(Progress, Protocol):
    """Whatever shows the progress of a guest's arms."""

    def begin_run(self, text: str) -> None:
        """Note that an arm begins."""

    def end(self) -> None:
        """Note that the arm under way has ended."""

    def note(self, text: str) -> None:
        """Show a line that stays."""


class Guest(Protocol):
    """A node on which arms are run, one after the other."""

    def warm_up(self, mix: Mix) -> None:
        """Have the programs in memory."""

    def run(self, mix: Mix, arm: str, progress: Progress) -> tuple[JsonObject, JsonObject]:
        """Return an arm's figures and its raw data; raises TwinError, after which the guest is of no use."""

    def environment(self) -> JsonObject:
        """Describe what was measured on."""

    def stop(self) -> None:
        """End it at once, from another thread."""


Boot = Callable[[Lane, int], AbstractContextManager[Guest]]
"""Boots a guest for a lane of this number; everything of it ends with the context."""


@dataclass(frozen=True, kw_only=True)
class TwinBoot:
    """Boots node twins."""

    output: Path
    cache: Path
    kernel: str
    kvm: KvmChoice
    measured_s: float
    _preparing: threading.Lock = field(default_factory=threading.Lock)
    """Kernel, volume server and files are made once, whoever comes first."""

    @contextlib.contextmanager
    def __call__(self, lane: Lane, number: int) -> Iterator[OnTwin]:
        output = self.output / f"guest-{number}"
        with contextlib.ExitStack() as stack:
            with self._preparing:
                config = fuzz_twin(output, self.cache, kernel=self.kernel, kvm=self.kvm)
                boot = stack.enter_context(booting(config, report=lane.doing))
            twin = boot.up()
            (volume,) = config.volumes
            node = Node(twin, volume.limits, give_controller_volume=True)
            yield OnTwin(node, output, self.measured_s)


class Guests:
    """Run seeds on guests, one for each lane, and hand over each arm's record as it is done."""

    def __init__(self, todo: Sequence[Todo], output: Path, lanes: Sequence[Lane], boot: Boot) -> None:
        self._left = deque(todo)
        self._output = output
        self._lanes = lanes
        self._boot = boot
        self._guests: dict[int, Guest] = {}
        self._stop = threading.Event()

    def records(self) -> Generator[JsonObject]:
        """Yield a record of each arm, or of a seed's error, as they come; all guests end with it.

        Raises what is no seed's fault: that a guest cannot be booted at all.
        """
        if len(self._lanes) == 1:
            yield from self._work(1, self._lanes[0])
            return
        done: queue.Queue[JsonObject | BaseException | None] = queue.Queue()
        threads = [
            threading.Thread(target=self._put, args=(done, number, lane), name=f"lane-{number}", daemon=True)
            for number, lane in enumerate(self._lanes, start=1)
        ]
        for thread in threads:
            thread.start()
        try:
            working = len(threads)
            while working:
                match done.get():
                    case None:
                        working -= 1
                    case BaseException() as error:
                        raise error
                    case record:
                        yield record
        finally:
            self._stop.set()
            for guest in list(self._guests.values()):
                guest.stop()  # whatever its lane waits for is over then
            for thread in threads:
                thread.join(_ENDS_WITHIN_S)

    def _put(self, done: queue.Queue[JsonObject | BaseException | None], number: int, lane: Lane) -> None:
        try:
            for record in self._work(number, lane):
                done.put(record)
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits for it
            done.put(error)
        done.put(None)

    def _work(self, number: int, lane: Lane) -> Iterator[JsonObject]:
        """Do seeds until none is left; after an error on a guest that is made anew."""
        boots_failed = 0
        while (seed := self._taken()) is not None:
            lane.begin_run("set-up")
            try:
                with self._boot(lane, number) as guest:
                    self._guests[number] = guest
                    guest.warm_up(draw(seed.seed))
                    boots_failed = 0
                    while seed is not None:
                        yield from self._arms(guest, seed, lane)
                        seed = self._taken()
            except _SeedError as error:
                yield {"seed": error.seed, "errors": {error.arm: str(error)}}
            except TwinError as error:
                boots_failed += 1
                if boots_failed >= _BOOTS_FAILED_MOST or self._stop.is_set():
                    raise
                lane.note(f"the guest did not come up, once more: {error.message}")
                if seed is not None:
                    self._left.appendleft(seed)

    def _arms(self, guest: Guest, todo: Todo, lane: Lane) -> Iterator[JsonObject]:
        mix = draw(todo.seed)
        for arm in todo.arms:
            lane.begin_run(f"seed {todo.seed} {arm}")
            try:
                figures, raw = guest.run(mix, arm, lane)
            except TwinError as error:
                lane.note(f"seed {todo.seed} {arm}: {error.message}")
                raise _SeedError(todo.seed, arm, error) from error
            _keep(self._output / RAW_FOLDER / f"{todo.seed}-{arm}.json.gz", raw)
            lane.end()
            lane.note(f"seed {todo.seed} {arm}: {_line(figures)}")
            yield {"seed": todo.seed, "arms": {arm: figures}, "environment": guest.environment()}

    def _taken(self) -> Todo | None:
        try:
            return None if self._stop.is_set() else self._left.popleft()
        except IndexError:
            return None


class _SeedError(Exception):
    """An arm of a seed failed; what the guest is like after it, nobody knows."""

    def __init__(self, seed: int, arm: str, error: TwinError) -> None:
        super().__init__(error.message)
        self.seed = seed
        self.arm = arm


def _keep(path: Path, raw: JsonObject) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with gzip.open(part, "wt", compresslevel=6) as file:
        json.dump(raw, file, separators=(",", ":"))
    part.rename(path)


def _line(figures: JsonObject) -> str:
    cost = cast("Mapping[str, float]", figures["cost"])
    return (
        f"p95 {figures['p95_ms']:g} ms of {figures['ios']} I/Os; "
        f"{cost['guest_s']:.0f} s by the node's clock took {cost['host_s']:.0f} s"
    )
