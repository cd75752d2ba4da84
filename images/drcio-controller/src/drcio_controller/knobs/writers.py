"""Kernel knobs as a declarative set, each device's by a writer of its own.

A write for one device may wait for the device, and on a volume that has stopped for ever. What is for
the node as a whole (controllers, default weights) waits for nobody and is written by who asks.
"""

from __future__ import annotations

import logging
import time
from collections import ChainMap
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from drcio_controller.errors import Busy
from drcio_controller.kernel.drain import Drain
from drcio_controller.kernel.files import write_text
from drcio_controller.kernel.knob import Knob, Roots, render_write
from drcio_controller.kernel.parse import DeviceId
from drcio_controller.knobs.journal import Journal
from drcio_controller.knobs.knobset import Failure, KnobSet, Reconciled, joined
from drcio_controller.knobs.writer import Writer

log = logging.getLogger(__name__)

PATIENCE_S: Final = 0.25
"""How long a pass waits for the devices' writers; who takes longer is asked again in the next pass."""

STOPPED_PATIENCE_S: Final = 2.0
"""How long the end waits for a device that has stopped; kubelet counts, and the others are done by then."""


@dataclass(frozen=True, slots=True)
class _Lane:
    """What is set on one device, and who writes it."""

    knobs: KnobSet
    drain: Drain
    writer: Writer[Reconciled]


class Knobs:
    """Keep a set of knobs at their wanted values."""

    def __init__(
        self,
        roots: Roots,
        journal: Journal,
        *,
        dry_run: bool = False,
        write: Callable[[str, str], None] = write_text,
    ) -> None:
        self._roots = roots
        self._journal = journal
        self._dry_run = dry_run
        self._write_text = write
        self._controllers = KnobSet(roots, journal, write=write)
        self._defaults = KnobSet(roots, journal, write=write)
        self._lanes: dict[DeviceId, _Lane] = {}
        self._logged: set[tuple[Knob, str]] = set()

    @property
    def held(self) -> Mapping[Knob, str]:
        """Return every knob that holds what was asked for, as last seen."""
        return ChainMap(*(knobs.held for knobs in self._sets()))

    @property
    def contested(self) -> Mapping[Knob, str]:
        """Return every knob that is left to somebody else for now, with their value."""
        return ChainMap(*(knobs.contested for knobs in self._sets()))

    @property
    def waiting_s(self) -> Mapping[DeviceId, float]:
        """Return the devices that have stopped, and for how long a write has been waiting for each."""
        now_s = time.monotonic()
        began_s = {
            device: [at_s for at_s in (lane.writer.since_s, lane.drain.stopped_at_s) if at_s is not None]
            for device, lane in self._lanes.items()
        }
        return {device: now_s - min(at_s) for device, at_s in began_s.items() if at_s}

    def reconcile(self, wanted: Mapping[Knob, str], now_s: float) -> Reconciled:
        """Make the wanted set hold, in its order, and put back every knob that is not in it any more.

        Knobs that were written earlier are read again every few seconds. Never raises for a kernel file.
        """
        if self._dry_run:
            self._log_once(wanted)
            return Reconciled()
        outside = self._journal.knobs_outside(wanted)
        controllers, defaults, devices = _divided(wanted)
        done: list[Reconciled] = []
        if not self._controllers.rests(controllers, now_s):
            done.append(self._controllers.hold(controllers, now_s))
        stopped = self._devices(devices, outside, now_s, done)
        gone = [knob for knob in outside if knob.device is None and not knob.switches_controller]
        if gone or not self._defaults.rests(defaults, now_s):
            done.append(self._defaults.follow(defaults, gone, now_s))
        # A cgroup whose controller goes waits for whoever is writing to a file of it.
        if not stopped and (gone := [knob for knob in outside if knob.switches_controller]):
            done.append(self._controllers.release(gone))
        return joined(done)

    def restore(
        self,
        *,
        patience_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Reconciled:
        """Put back everything in the journal, last change first.

        What is busy is tried again until its cgroup is free or gone, for `patience_s`, and for less where
        a device has stopped; what is busy even then stays in the journal, and whoever comes after this
        process puts it back.
        """
        if self._dry_run:
            return Reconciled()
        deadline_s = time.monotonic() + STOPPED_PATIENCE_S
        put_back = partial(
            self._put_back, patience_s=min(patience_s, STOPPED_PATIENCE_S), clock=clock, sleep=sleep
        )
        for device in self._journal_devices():
            self._lane(device)
        done, late = self._finish(dict(self._lanes), float("-inf"))
        put_back(self._lanes.keys() - late)
        finished, stopped = self._finish(dict(self._lanes), deadline_s + PATIENCE_S)
        done += finished
        put_back(late - stopped)
        finished, slow = self._finish(
            {device: self._lanes[device] for device in late - stopped}, deadline_s + 2 * PATIENCE_S
        )
        done += finished
        stopped |= slow
        left = [knob for device in stopped for knob in self._journal_of(device)]
        # What a writer that does not come back has its hand in stays as it is.
        left += [knob for knob in self._journal.knobs() if stopped and knob.switches_controller]
        why = Busy(f"a write for {', '.join(sorted(stopped))} has not returned")
        done.append(Reconciled(unreleased=tuple(Failure(knob, why) for knob in left)))
        for knobs, switching in ((self._defaults, False), (self._controllers, True)):
            mine = partial(self._journal_but, left, switching=switching)
            done.append(knobs.restore(mine, patience_s=patience_s, clock=clock, sleep=sleep))
        return joined(done)

    def _put_back(
        self,
        devices: Collection[DeviceId],
        *,
        patience_s: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        for device in devices:
            lane = self._lanes[device]
            knobs = partial(self._journal_of, device)
            lane.writer.start(
                partial(lane.knobs.restore, knobs, patience_s=patience_s, clock=clock, sleep=sleep)
            )

    def _devices(
        self,
        wanted: Mapping[DeviceId, Mapping[Knob, str]],
        outside: Collection[Knob],
        now_s: float,
        done: list[Reconciled],
    ) -> bool:
        """Let each device's writer do its part; return whether one has not come back."""
        gone: dict[DeviceId, list[Knob]] = {}
        for knob in outside:
            if knob.device is not None:
                gone.setdefault(knob.device, []).append(knob)
        finished, late = self._finish(dict(self._lanes), float("-inf"))
        done += finished
        started: dict[DeviceId, _Lane] = {}
        for device in {*self._lanes, *wanted, *gone} - late:
            lane, part = self._lane(device), wanted.get(device, {})
            if device in gone or not lane.knobs.rests(part, now_s):
                started[device] = lane
                follow = partial(lane.knobs.follow, part, gone.get(device, ()), now_s)
                lane.writer.start(follow)
        finished, slow = self._finish(started, time.monotonic() + PATIENCE_S)
        done += finished
        for device in started.keys() - slow:
            if device not in wanted and not self._journal_of(device):
                self._lanes.pop(device).writer.end()
        return bool(late or slow)

    def _finish(
        self, lanes: Mapping[DeviceId, _Lane], deadline_s: float
    ) -> tuple[list[Reconciled], set[DeviceId]]:
        """Return the results that are there by then, and the devices whose writer is still at it."""
        done, late = [], set()
        for device, lane in lanes.items():
            if lane.writer.since_s is None:
                continue
            result = lane.writer.result(deadline_s - time.monotonic())
            if result is None:
                late.add(device)
            else:
                done.append(result)
        return done, late

    def _lane(self, device: DeviceId) -> _Lane:
        lane = self._lanes.get(device)
        if lane is None:
            drain = Drain(self._roots, device)
            knobs = KnobSet(self._roots, self._journal, write=self._write_text, ready=drain.require)
            lane = self._lanes[device] = _Lane(knobs, drain, Writer(f"writer-{device}"))
        return lane

    def _sets(self) -> list[KnobSet]:
        return [self._controllers, self._defaults, *(lane.knobs for lane in self._lanes.values())]

    def _journal_of(self, device: DeviceId) -> list[Knob]:
        return [knob for knob in self._journal.knobs() if knob.device == device]

    def _journal_but(self, left: Collection[Knob], *, switching: bool) -> list[Knob]:
        """Return what is for the node as a whole, without what must stay."""
        return [
            knob
            for knob in self._journal.knobs()
            if knob.device is None and knob.switches_controller == switching and knob not in left
        ]

    def _journal_devices(self) -> list[DeviceId]:
        return list(dict.fromkeys(knob.device for knob in self._journal.knobs() if knob.device is not None))

    def _log_once(self, wanted: Mapping[Knob, str]) -> None:
        for knob, value in wanted.items():
            if (knob, value) in self._logged:
                continue
            self._logged.add((knob, value))
            log.info("would_write file=%s value=%r", knob.file, render_write(knob, value))


def _divided(
    wanted: Mapping[Knob, str],
) -> tuple[dict[Knob, str], dict[Knob, str], dict[DeviceId, dict[Knob, str]]]:
    """Return what switches controllers, what else is for the node as a whole, and each device's part."""
    controllers: dict[Knob, str] = {}
    defaults: dict[Knob, str] = {}
    devices: dict[DeviceId, dict[Knob, str]] = {}
    for knob, value in wanted.items():
        device = knob.device
        if device is not None:
            devices.setdefault(device, {})[knob] = value
        elif knob.switches_controller:
            controllers[knob] = value
        else:
            defaults[knob] = value
    return controllers, defaults, devices
