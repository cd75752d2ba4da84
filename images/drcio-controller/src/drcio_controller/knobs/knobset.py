"""A set of kernel knobs in one thread's hands: made to hold, kept so, and undone.

Before a knob is first written, its value and its cgroup's inode go to the journal, so that whoever
comes after this process, even after a SIGKILL, can put it back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from drcio_controller.errors import Busy, KernelFileError, NotSupported, ReadBackMismatch, Vanished
from drcio_controller.kernel.drain import FREEZING_FILES
from drcio_controller.kernel.files import inode_of, write_text
from drcio_controller.kernel.knob import Knob, Roots, holds, read_knob, render_write
from drcio_controller.knobs.journal import Entry, Journal

log = logging.getLogger(__name__)

REWRITE_LIMIT: Final = 3
"""So many changes by somebody else in a row are undone at once; each further one after twice the pause of
the one before."""
CONTEST_PAUSE_S: Final = 1.0
CONTEST_PAUSE_LIMIT_S: Final = 60.0
CALM_S: Final = 120.0
"""Two changes that are further apart are not in a row: a restart of systemd now and then is no contest."""

BUSY_RETRY_S: Final = 0.2
VERIFY_INTERVAL_S: Final = 2.0
VERIFIED_PER_PASS: Final = 64
"""At most so many knobs are read again in one pass: a thousand pods must not make a tick slow."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A knob that does not hold what was asked for."""

    knob: Knob
    error: KernelFileError

    @property
    def kept(self) -> bool:
        """Return whether it may go another time; what the kernel refuses for good stays as it is."""
        return not isinstance(self.error, NotSupported)


@dataclass(frozen=True, slots=True)
class ForeignChange:
    """A knob that somebody else changed after this controller wrote it."""

    knob: Knob
    wrote: str
    found: str
    contested: bool
    """True: they keep doing it, so it is left to them for a while."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What one pass did."""

    written: tuple[Knob, ...] = ()
    failures: tuple[Failure, ...] = ()
    unreleased: tuple[Failure, ...] = ()
    """What should have been put back and is not; what was busy is tried again."""
    foreign: tuple[ForeignChange, ...] = ()
    took_s: tuple[tuple[Knob, float], ...] = ()
    """How long each write took, also one that failed."""


def joined(parts: Iterable[Reconciled]) -> Reconciled:
    """Return what several passes did, as one."""
    done = list(parts)
    return Reconciled(
        written=tuple(knob for part in done for knob in part.written),
        failures=tuple(failure for part in done for failure in part.failures),
        unreleased=tuple(failure for part in done for failure in part.unreleased),
        foreign=tuple(change for part in done for change in part.foreign),
        took_s=tuple(took for part in done for took in part.took_s),
    )


@dataclass(slots=True)
class _Held:
    value: str
    verified_at_s: float
    strikes: int = 0
    struck_at_s: float = float("-inf")
    rewrite_at_s: float | None = None
    """While somebody else's value is left in place: until when."""
    theirs: str = ""


class KnobSet:
    """Keep some knobs at their wanted values; for one thread, while others may read what it shows."""

    def __init__(
        self,
        roots: Roots,
        journal: Journal,
        *,
        write: Callable[[str, str], None] = write_text,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`ready` returns once a write that freezes the device's queue can end, or raises `Busy`."""
        self._roots = roots
        self._journal = journal
        self._write_text = write
        self._ready = ready
        self._held: dict[Knob, _Held] = {}
        self._verify_left = 0
        self._wanted: Mapping[Knob, str] | None = None
        """What the last pass made hold without a failure; None after one with."""
        self._look_at_s = float("inf")
        self._took_s: list[tuple[Knob, float]] = []
        self.held: dict[Knob, str] = {}
        """Every knob that holds what was asked for, as last seen; a new mapping after each pass."""
        self.contested: dict[Knob, str] = {}
        """Every knob that is left to somebody else for now, with their value; likewise."""

    def rests(self, wanted: Mapping[Knob, str], now_s: float) -> bool:
        """Return whether a pass would do nothing: the same holds as last time, and no look at it is due."""
        return now_s < self._look_at_s and wanted == self._wanted

    def follow(self, wanted: Mapping[Knob, str], gone: Iterable[Knob], now_s: float) -> Reconciled:
        """Put back what is `gone` from the wanted knobs, and make those hold."""
        return joined([self.release(gone), self.hold(wanted, now_s)])

    def hold(self, wanted: Mapping[Knob, str], now_s: float) -> Reconciled:
        """Make the wanted knobs hold, in their order.

        Those that were written earlier are read again every few seconds. Never raises for a kernel file.
        """
        failures = self._remember([knob for knob in wanted if knob not in self._held])
        failed = {failure.knob for failure in failures}
        self._verify_left = VERIFIED_PER_PASS
        written: list[Knob] = []
        foreign: list[ForeignChange] = []
        for knob, value in wanted.items():
            if knob in failed:
                continue
            try:
                changed = self._settle(knob, value, now_s)
            except Vanished as error:
                self._held.pop(knob, None)
                failures.append(Failure(knob, error))
            except KernelFileError as error:
                failures.append(Failure(knob, error))
            else:
                if isinstance(changed, ForeignChange):
                    foreign.append(changed)
                if changed is not None and not (isinstance(changed, ForeignChange) and changed.contested):
                    written.append(knob)
        self._wanted = None if failures else dict(wanted)
        looked_at_s = min((held.verified_at_s for held in self._held.values()), default=float("inf"))
        self._look_at_s = looked_at_s + VERIFY_INTERVAL_S
        self._show()
        return Reconciled(tuple(written), tuple(failures), foreign=tuple(foreign), took_s=self._taken())

    def release(self, knobs: Iterable[Knob]) -> Reconciled:
        """Put these back, the last change first."""
        failures = self._release(list(knobs))
        self._show()
        return Reconciled(unreleased=tuple(failures), took_s=self._taken())

    def restore(
        self,
        knobs: Callable[[], list[Knob]],
        *,
        patience_s: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> Reconciled:
        """Put back what `knobs` returns, and what of it is busy again and again for `patience_s`."""
        deadline_s = clock() + patience_s
        failures: list[Failure] = []
        while True:
            tried = self._release(knobs())
            failures += [failure for failure in tried if not failure.kept]
            kept = [failure for failure in tried if failure.kept]
            busy = any(isinstance(failure.error, Busy) for failure in kept)
            if not busy or clock() >= deadline_s:
                self._show()
                return Reconciled(unreleased=(*failures, *kept), took_s=self._taken())
            sleep(BUSY_RETRY_S)

    def _show(self) -> None:
        self.held = {knob: held.value for knob, held in self._held.items() if held.rewrite_at_s is None}
        self.contested = {
            knob: held.theirs for knob, held in self._held.items() if held.rewrite_at_s is not None
        }

    def _taken(self) -> tuple[tuple[Knob, float], ...]:
        took_s, self._took_s = tuple(self._took_s), []
        return took_s

    def _remember(self, knobs: list[Knob]) -> list[Failure]:
        """Write the journal before the knobs, so that no change is ever without its way back."""
        failures = []
        entries = []
        for knob in knobs:
            try:
                inode = inode_of(self._roots.folder(knob))
                if self._journal.before(knob, inode) is None:
                    entries.append(Entry(knob, inode, read_knob(self._roots, knob)))
            except KernelFileError as error:
                failures.append(Failure(knob, error))
        try:
            self._journal.add(entries)
        except KernelFileError as error:
            failures += [Failure(entry.knob, error) for entry in entries]
        return failures

    def _settle(self, knob: Knob, value: str, now_s: float) -> bool | ForeignChange | None:
        """Return None if nothing was to do, True after a write, or what somebody else did."""
        held = self._held.get(knob)
        if held is None:
            found = read_knob(self._roots, knob)
            if not holds(knob, value, found):
                self._write(knob, value, found)
                self._held[knob] = _Held(value, now_s)
                return True
            self._held[knob] = _Held(value, now_s)
            return None
        result: bool | ForeignChange | None = None
        if now_s - held.verified_at_s >= VERIFY_INTERVAL_S and self._verify_left > 0:
            self._verify_left -= 1
            held.verified_at_s = now_s
            found = read_knob(self._roots, knob)
            if not holds(knob, held.value, found):
                if self._made_anew(knob):
                    del self._held[knob]
                    for failure in self._remember([knob]):
                        raise failure.error
                    return self._settle(knob, value, now_s)
                result = self._foreign(knob, held, found, now_s)
                if held.rewrite_at_s is not None:
                    return result
            else:
                held.rewrite_at_s = None
        if held.rewrite_at_s is not None:
            return None  # left to somebody else, until the next look
        if result is not None or held.value != value:
            self._write(knob, value, found if result is not None else held.value)
            held.value = value
            held.verified_at_s = now_s
            return result or True
        return None

    def _made_anew(self, knob: Knob) -> bool:
        """Return whether the cgroup is another one at the same path: then nobody changed anything."""
        entry = self._journal.entry(knob)
        return entry is None or entry.inode != inode_of(self._roots.folder(knob))

    def _foreign(self, knob: Knob, held: _Held, found: str, now_s: float) -> ForeignChange | None:
        """Decide whether to insist, or to leave the knob for a while to whoever keeps changing it.

        Sets `rewrite_at_s` where it is left to them. Returns None where nothing is new.
        """
        if held.rewrite_at_s is not None and now_s >= held.rewrite_at_s:
            held.rewrite_at_s = None
            return ForeignChange(knob, held.value, found, contested=False)
        known = held.rewrite_at_s is not None and found == held.theirs
        if known:
            return None
        held.strikes = 1 if now_s - held.struck_at_s > CALM_S else held.strikes + 1
        held.struck_at_s = now_s
        held.theirs = found
        contested = held.strikes > REWRITE_LIMIT
        if contested:
            doubled = CONTEST_PAUSE_S * 2.0 ** min(held.strikes - REWRITE_LIMIT - 1, 30)
            held.rewrite_at_s = now_s + min(CONTEST_PAUSE_LIMIT_S, doubled)
            # It is theirs now, so theirs is what it must hold at the end.
            self._journal.add([Entry(knob, inode_of(self._roots.folder(knob)), found)])
        return ForeignChange(knob, held.value, found, contested=contested)

    def _write(self, knob: Knob, value: str, before: str) -> None:
        self._put(knob, render_write(knob, value, before))
        found = read_knob(self._roots, knob)
        if not holds(knob, value, found):
            raise ReadBackMismatch(f"{knob}: wrote {value!r}, reads {found!r}")

    def _put(self, knob: Knob, text: str) -> None:
        if knob.name in FREEZING_FILES:
            self._ready()
        began_s = time.monotonic()
        try:
            self._write_text(self._roots.path(knob), text)
        finally:
            self._took_s.append((knob, time.monotonic() - began_s))

    def _release(self, knobs: list[Knob]) -> list[Failure]:
        failures = []
        done = []
        for knob in reversed(knobs):
            entry = self._journal.entry(knob)
            held = self._held.get(knob)
            if entry is None:
                continue
            try:
                self._put_back(entry, held)
            except Vanished:
                log.debug("vanished knob=%s", knob)
            except KernelFileError as error:
                failures.append(Failure(knob, error))
                if failures[-1].kept:
                    continue
            done.append(knob)
            self._held.pop(knob, None)
        self._journal.remove(done)
        return failures

    def _put_back(self, entry: Entry, held: _Held | None) -> None:
        if inode_of(self._roots.folder(entry.knob)) != entry.inode:
            return
        found = read_knob(self._roots, entry.knob)
        if found == entry.before:
            return
        if held is not None and not holds(entry.knob, held.value, found):
            log.warning("left_as_found knob=%s found=%r before=%r", entry.knob, found, entry.before)
            return
        self._put(entry.knob, render_write(entry.knob, entry.before, found))
