"""Load from several pods of one indexed Job: a common start, and one record of all of them.

They talk through the ConfigMap, which is all that they may touch. Entries carry the Job's token, so that
what an earlier Job of the same name left is not taken for this one's.

    peer-N        "TOKEN ready", "TOKEN failed REASON"      by generator N
    start         "TOKEN UNIX_SECONDS"                      by generator 0, once all are ready
    load-N.gz     {"token", "load"}                         by generator N, after its load
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from experiments.job.configmap import ConfigMap, Contents
from experiments.job.errors import PeersMissing
from experiments.job.publish import MAX_BYTES, UNREADABLE, compressed, decompressed
from load_generator.errors import RecordError as LoadRecordError
from load_generator.record import LoadRecord, merge, parse_record

READY_TIMEOUT_S: Final = 900.0
"""A second node may have to be started, or an image fetched, for the last of them."""
HANDOVER_TIMEOUT_S: Final = 180.0
_LEAD_S: Final = 5.0
"""From the start's announcement to the start: every generator polls more often than that."""
_POLL_S: Final = 1.0

T = TypeVar("T")

_READY: Final = "ready"
_FAILED: Final = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """This generator among those of its Job."""

    index: int
    """0 leads: it observes, merges and judges."""
    size: int
    token: str
    """The Job's uid."""

    @property
    def leads(self) -> bool:
        return self.index == 0

    def seed(self, load_seed: int) -> int:
        """Return this generator's seed; alone, it is the experiment's own."""
        return load_seed if self.size == 1 else load_seed * 1000 + self.index


class Peers:
    """The others, as they are seen through the ConfigMap."""

    def __init__(
        self,
        crew: Crew,
        config_map: ConfigMap,
        *,
        unix_s: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._crew = crew
        self._config_map = config_map
        self._unix_s = unix_s
        self._sleep = sleep

    def start_together(self) -> None:
        """Return at the common start; at once for a generator that is alone. Raises PeersMissing."""
        if self._crew.size == 1:
            return
        if self._crew.leads:
            self._wait(READY_TIMEOUT_S, self._all_ready, "other generators to be ready")
            start_unix_s = self._unix_s() + _LEAD_S
            self._config_map.patch(data={"start": f"{self._crew.token} {start_unix_s:.3f}"})
        else:
            self._report(_READY)
            start_unix_s = self._wait(READY_TIMEOUT_S, self._start, "generator 0 to say when to start")
        self._sleep(max(start_unix_s - self._unix_s(), 0.0))

    def hand_over(self, load: LoadRecord) -> None:
        """Leave this generator's record for generator 0, per-second detail only where there is room."""
        room_bytes = MAX_BYTES // self._crew.size
        packed = self._pack(load)
        if len(packed) > room_bytes:
            packed = self._pack(dataclasses.replace(load, intervals=()))
        self._config_map.patch(binary={self._load_key(self._crew.index): packed})

    def fail(self, reason: str) -> None:
        """Let generator 0 know not to wait."""
        self._report(f"{_FAILED} {reason}")

    def merged(self, own: LoadRecord) -> LoadRecord:
        """Return one record of all generators, and clear away theirs. Raises PeersMissing."""
        if self._crew.size == 1:
            return own
        timeout_s = HANDOVER_TIMEOUT_S + own.plan.timeout_s
        others = self._wait(timeout_s, self._loads, "other generators' records")
        indices = range(1, self._crew.size)
        self._config_map.patch(
            data={"start": None, **{f"peer-{index}": None for index in indices}},
            binary={self._load_key(index): None for index in indices},
        )
        try:
            return merge([own, *others])
        except LoadRecordError as error:
            raise PeersMissing(f"the generators' records do not fit together: {error}") from error

    def _wait(self, timeout_s: float, look: Callable[[Contents], T | None], what: str) -> T:
        deadline_s = self._unix_s() + timeout_s
        while (found := look(self._config_map.read())) is None:
            if self._unix_s() > deadline_s:
                raise PeersMissing(f"waited {timeout_s:.0f} s for the {what}")
            self._sleep(_POLL_S)
        return found

    def _all_ready(self, contents: Contents) -> bool | None:
        said = [self._said(contents, index) for index in range(1, self._crew.size)]
        return True if all(word.startswith(_READY) for word in said) else None

    def _start(self, contents: Contents) -> float | None:
        token, _, moment = contents.data.get("start", "").partition(" ")
        return float(moment) if token == self._crew.token and moment else None

    def _loads(self, contents: Contents) -> list[LoadRecord] | None:
        loads = []
        for index in range(1, self._crew.size):
            self._said(contents, index)
            load = self._unpack(contents.binary.get(self._load_key(index), ""))
            if load is None:
                return None
            loads.append(load)
        return loads

    def _said(self, contents: Contents, index: int) -> str:
        """Return a generator's last word, empty while it has sent none; raises PeersMissing for a failure."""
        token, _, word = contents.data.get(f"peer-{index}", "").partition(" ")
        if token != self._crew.token:
            return ""
        if word.startswith(_FAILED):
            raise PeersMissing(f"load generator {index} failed: {word.removeprefix(_FAILED).strip()}")
        return word

    def _report(self, word: str) -> None:
        self._config_map.patch(data={f"peer-{self._crew.index}": f"{self._crew.token} {word}"})

    def _pack(self, load: LoadRecord) -> str:
        return compressed({"token": self._crew.token, "load": load.to_json()})

    def _unpack(self, packed: str) -> LoadRecord | None:
        """Read what a peer packed; return None where there is none, or where an earlier Job left it."""
        if not packed:
            return None
        try:
            document = decompressed(packed)
            if not isinstance(document, Mapping) or document.get("token") != self._crew.token:
                return None
            return parse_record(document.get("load"), source="a load generator's record")
        except (*UNREADABLE, LoadRecordError) as error:
            raise PeersMissing(f"a load generator left a record that cannot be read: {error}") from error

    @staticmethod
    def _load_key(index: int) -> str:
        return f"load-{index}.gz"
