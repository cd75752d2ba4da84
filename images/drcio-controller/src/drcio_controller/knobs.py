"""Kernel knobs as a declarative set: say what must hold; it is made so, kept so, and undone.

Before a knob is first written, its value and its cgroup's inode go to the journal, so that whoever
comes after this process, even after a SIGKILL, can put it back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from drcio_controller.cgroupfs.files import inode_of, write_text
from drcio_controller.errors import KernelFileError, ReadBackMismatch, Vanished
from drcio_controller.journal import Entry, Journal
from drcio_controller.knob import Knob, Roots, holds, read_knob, render_write

log = logging.getLogger(__name__)

REWRITE_LIMIT: Final = 3
"""Rewrites of a knob that somebody else keeps changing, before it is left to them for a while."""
CONTEST_PAUSE_S: Final = 30.0
VERIFY_INTERVAL_S: Final = 2.0
VERIFIED_PER_PASS: Final = 64
"""At most so many knobs are read again in one pass: a thousand pods must not make a tick slow."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A knob that does not hold what was asked for."""

    knob: Knob
    error: KernelFileError


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
    foreign: tuple[ForeignChange, ...] = ()


@dataclass(slots=True)
class _Held:
    value: str
    verified_at_s: float
    strikes: int = 0
    contested_until_s: float = 0.0


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
        self._held: dict[Knob, _Held] = {}
        self._verify_left = 0
        self._told: set[tuple[Knob, str]] = set()

    @property
    def held(self) -> Mapping[Knob, str]:
        """Return every knob that holds what was asked for, as last seen."""
        return {knob: held.value for knob, held in self._held.items()}

    def reconcile(self, wanted: Mapping[Knob, str], now_s: float, *, verify: bool = False) -> Reconciled:
        """Make the wanted set hold, in its order, and put back every knob that is not in it any more.

        Knobs that were written earlier are read again every few seconds, or all of them now
        with `verify`. Never raises for a kernel file.
        """
        if self._dry_run:
            self._tell(wanted)
            return Reconciled()
        self._release(self._journal.knobs_outside(wanted))
        failures = self._remember([knob for knob in wanted if knob not in self._held])
        failed = {failure.knob for failure in failures}
        self._verify_left = len(wanted) if verify else VERIFIED_PER_PASS
        written: list[Knob] = []
        foreign: list[ForeignChange] = []
        for knob, value in wanted.items():
            if knob in failed:
                continue
            try:
                changed = self._settle(knob, value, now_s, verify=verify)
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
        return Reconciled(tuple(written), tuple(failures), tuple(foreign))

    def restore(self) -> Reconciled:
        """Put back everything in the journal, last change first."""
        if self._dry_run:
            return Reconciled()
        return Reconciled(failures=tuple(self._release(self._journal.knobs())))

    def _tell(self, wanted: Mapping[Knob, str]) -> None:
        for knob, value in wanted.items():
            if (knob, value) in self._told:
                continue
            self._told.add((knob, value))
            log.info("would_write file=%s value=%r", knob.file, render_write(knob, value))

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
        self._journal.add(entries)
        return failures

    def _settle(self, knob: Knob, value: str, now_s: float, *, verify: bool) -> bool | ForeignChange | None:
        """Return None if nothing was to do, True after a write, or what somebody else did."""
        held = self._held.get(knob)
        if held is None:
            if not holds(knob, value, read_knob(self._roots, knob)):
                self._write(knob, value)
                self._held[knob] = _Held(value, now_s)
                return True
            self._held[knob] = _Held(value, now_s)
            return None
        result: bool | ForeignChange | None = None
        overdue = now_s - held.verified_at_s >= VERIFY_INTERVAL_S and self._verify_left > 0
        if verify or overdue:
            self._verify_left -= 1
            held.verified_at_s = now_s
            found = read_knob(self._roots, knob)
            if not holds(knob, held.value, found):
                if self._made_anew(knob):
                    del self._held[knob]
                    self._remember([knob])
                    return self._settle(knob, value, now_s, verify=False)
                result = self._foreign(knob, held, found, now_s)
                if result.contested:
                    return result
        if result is not None or held.value != value:
            self._write(knob, value)
            held.value = value
            held.verified_at_s = now_s
            return result or True
        return None

    def _made_anew(self, knob: Knob) -> bool:
        """Say whether the cgroup is another one at the same path: then nobody changed anything."""
        entry = self._journal.entry(knob)
        return entry is None or entry.inode != inode_of(self._roots.folder(knob))

    def _foreign(self, knob: Knob, held: _Held, found: str, now_s: float) -> ForeignChange:
        """Decide whether to insist, or to leave the knob to whoever keeps changing it."""
        if now_s >= held.contested_until_s > 0:
            held.strikes = 0
            held.contested_until_s = 0.0
        held.strikes += 1
        if held.strikes > REWRITE_LIMIT and held.contested_until_s == 0:
            held.contested_until_s = now_s + CONTEST_PAUSE_S
        contested = now_s < held.contested_until_s
        if contested:
            # It is theirs now, so theirs is what it must hold at the end.
            self._journal.add([Entry(knob, inode_of(self._roots.folder(knob)), found)])
        return ForeignChange(knob, held.value, found, contested=contested)

    def _write(self, knob: Knob, value: str) -> None:
        self._write_text(self._roots.path(knob), render_write(knob, value))
        found = read_knob(self._roots, knob)
        if not holds(knob, value, found):
            raise ReadBackMismatch(f"{knob}: wrote {value!r}, reads {found!r}")

    def _release(self, knobs: list[Knob]) -> list[Failure]:
        failures = []
        done = []
        for knob in reversed(knobs):
            entry = self._journal.entry(knob)
            held = self._held.pop(knob, None)
            if entry is None:
                continue
            done.append(knob)
            try:
                self._put_back(entry, held)
            except Vanished:
                log.debug("vanished knob=%s", knob)
            except KernelFileError as error:
                failures.append(Failure(knob, error))
        self._journal.remove(done)
        return failures

    def _put_back(self, entry: Entry, held: _Held | None) -> None:
        path = self._roots.path(entry.knob)
        if inode_of(self._roots.folder(entry.knob)) != entry.inode:
            return
        found = read_knob(self._roots, entry.knob)
        if found == entry.before:
            return
        if held is not None and not holds(entry.knob, held.value, found):
            log.warning("left_as_found knob=%s found=%r before=%r", entry.knob, found, entry.before)
            return
        self._write_text(path, render_write(entry.knob, entry.before))
