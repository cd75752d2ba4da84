"""What every knob held before this controller touched it, kept across crashes.

The file lives on a tmpfs of the node (`/run`), so it dies with the boot whose knobs it describes.
Cgroups are told apart by inode: a path may be used again by another pod.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drcio_controller.kernel.knob import Knob

log = logging.getLogger(__name__)

FILE_NAME: Final = "journal.json"
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
        self.inherited = 0
        self.load()

    def load(self) -> None:
        """Read the file anew: another agent may have written it meanwhile."""
        self._entries = {}
        self.inherited = 0
        if self._path is not None and self._path.exists():
            self._entries = {entry.knob: entry for entry in _load(self._path, self._boot_id)}
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
        """Remember entries durably; a later entry replaces an earlier one of the same knob."""
        if entries:
            with self._lock:
                self._entries.update({entry.knob: entry for entry in entries})
                self._save()

    def remove(self, knobs: Sequence[Knob]) -> None:
        """Forget knobs that were put back."""
        if knobs:
            with self._lock:
                for knob in knobs:
                    self._entries.pop(knob, None)
                self._save()

    def _save(self) -> None:
        if self._path is None:
            return
        document = {
            "schema": _SCHEMA,
            "boot_id": self._boot_id,
            "entries": [
                {
                    "file": entry.knob.file,
                    "key": entry.knob.key,
                    "in_sysfs": entry.knob.in_sysfs,
                    "inode": entry.inode,
                    "before": entry.before,
                }
                for entry in self._entries.values()
            ],
        }
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(document))
        temporary.replace(self._path)


def _load(path: Path, boot_id: str) -> list[Entry]:
    """Return a file's entries; one of another boot or that cannot be read counts as none."""
    try:
        document = json.loads(path.read_text())
        if document["schema"] != _SCHEMA or document["boot_id"] != boot_id:
            log.info("journal_ignored path=%s reason=other_boot_or_schema", path)
            return []
        return [
            Entry(
                Knob(str(item["file"]), str(item["key"]), bool(item["in_sysfs"])),
                int(item["inode"]),
                str(item["before"]),
            )
            for item in document["entries"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.error("journal_unreadable path=%s error=%r", path, error)
        return []
