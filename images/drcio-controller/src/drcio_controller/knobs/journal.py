"""What every knob held before this controller touched it, kept across crashes.

The file lives on a tmpfs of the node (`/run`), so it dies with the boot whose knobs it describes.
Cgroups are told apart by inode: a path may be used again by another pod.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drcio_controller.errors import KernelFileError
from drcio_controller.kernel.knob import Knob
from drcio_controller.loglimit import LogLimit

log = logging.getLogger(__name__)

FILE_NAME: Final = "journal.json"
UNREAD_NAME: Final = "journal.unread"
"""What another version wrote or something spoiled, when it had to make room: for people to read."""
UNREAD_LINES: Final = 3
_HINT: Final = f"it is not put back; what the file says is kept as {UNREAD_NAME}"
_SCHEMA: Final = "drcio.journal/1"


@dataclass(frozen=True, slots=True)
class Entry:
    """One knob's earlier value, in `knob`'s canonical form."""

    knob: Knob
    inode: int
    before: str


class Journal:
    """Remember entries in order of first touch; write them to disk before they matter. For any thread."""

    def __init__(self, folder: Path | None, *, boot_id: str = "") -> None:
        """Read what an earlier process of the same boot left; without a folder, keep it in memory."""
        self._path = folder / FILE_NAME if folder else None
        self._boot_id = boot_id
        self._entries: dict[Knob, Entry] = {}
        self._lock = threading.Lock()
        self._unread = False
        self._lines = LogLimit(burst=1)
        self.inherited = 0
        self.load()

    def load(self) -> None:
        """Read the file anew: another agent may have written it meanwhile."""
        self._entries = {}
        if self._path is not None and self._path.exists():
            entries, unread = _load(self._path, self._boot_id)
            self._entries = {entry.knob: entry for entry in entries}
            self._unread = bool(unread)
            for problem in unread[:UNREAD_LINES]:
                log.error("journal_unreadable path=%s error=%r hint=%r", self._path, problem, _HINT)
        self.inherited = len(self._entries)

    def knobs(self) -> list[Knob]:
        """Return every knob that must be put back one day, oldest first."""
        with self._lock:
            return list(self._entries)

    def knobs_outside(self, wanted: Container[Knob]) -> list[Knob]:
        """Return every knob that is to be put back now."""
        return [knob for knob in self.knobs() if knob not in wanted]

    def entry(self, knob: Knob) -> Entry | None:
        """Return a knob's entry."""
        return self._entries.get(knob)

    def before(self, knob: Knob, inode: int) -> str | None:
        """Return the earlier value if it is of this very cgroup."""
        entry = self._entries.get(knob)
        return entry.before if entry is not None and entry.inode == inode else None

    def add(self, entries: Sequence[Entry]) -> None:
        """Remember entries durably; a later entry replaces an earlier one of the same knob.

        Raises:
            KernelFileError: the file cannot be written; none of them is remembered.
        """
        if not entries:
            return
        with self._lock:
            earlier = dict(self._entries)
            self._entries.update({entry.knob: entry for entry in entries})
            try:
                self._save()
            except OSError as error:
                self._entries = earlier
                message = f"cannot note in {self._path} what was found: {error.strerror}"
                raise KernelFileError(message) from error

    def remove(self, knobs: Sequence[Knob]) -> None:
        """Forget knobs that were put back; a file that keeps them all the same does no harm."""
        if not knobs:
            return
        with self._lock:
            for knob in knobs:
                self._entries.pop(knob, None)
            try:
                self._save()
            except OSError as error:
                if self._lines.admits("remove"):
                    log.error("journal_unwritable path=%s error=%r", self._path, error.strerror)

    def _save(self) -> None:
        if self._path is None:
            return
        document = {
            "schema": _SCHEMA,
            "boot_id": self._boot_id,
            "entries": [
                {**entry.knob._asdict(), "inode": entry.inode, "before": entry.before}
                for entry in self._entries.values()
            ],
        }
        if self._unread:
            self._path.replace(self._path.with_name(UNREAD_NAME))
            self._unread = False
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(document))
        temporary.replace(self._path)


def _load(path: Path, boot_id: str) -> tuple[list[Entry], list[str]]:
    """Return a file's entries, none where it is of another boot, and what of it cannot be used."""
    try:
        document = json.loads(path.read_text())
        if document["boot_id"] != boot_id:
            log.info("journal_ignored path=%s reason=other_boot", path)
            return [], []
        if document["schema"] != _SCHEMA:
            return [], [f"its schema is {str(document['schema'])[:40]!r}; expected {_SCHEMA!r}"]
        items = list(document["entries"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        return [], [f"{type(error).__name__}: {error}"[:200]]
    entries, unread = [], []
    for item in items:
        try:
            entries.append(_entry(item))
        except (ValueError, LookupError, TypeError) as error:
            unread.append(f"{type(error).__name__}: {error}"[:200])
    return entries, unread


def _entry(item: Mapping[str, object]) -> Entry:
    knob = Knob(str(item["file"]), str(item["key"]), bool(item["in_sysfs"]))
    if not knob.known or type(item["inode"]) is not int:
        raise ValueError(f"no knob of this version: {str(knob)[:80]!r}")
    return Entry(knob, item["inode"], str(item["before"]))
