"""A volume in memory, for tests of what is built on an `Engine`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lp_batch.arena import Arena
from lp_batch.engine import Completion


@dataclass
class MemoryEngine:
    """Finishes operations in the order of submission, at most `per_reap` at a time.

    `tamper` sees each operation (write, offset, outcome) and returns the outcome that the job shall
    see: the bytes moved or a negated errno. With `held` nothing finishes, as on a throttled volume.
    """

    arena: Arena
    content: bytearray
    per_reap: int = 1
    held: bool = False
    tamper: Callable[[bool, int, int], int] = lambda _write, _offset, moved: moved
    on_reap: Callable[[], None] = lambda: None
    deepest: int = 0
    log: list[tuple[bool, int]] = field(default_factory=list)
    name: str = "memory"

    def __post_init__(self) -> None:
        self._queued: list[tuple[int, bool, int]] = []
        self._in_flight: list[tuple[int, bool, int]] = []

    def queue(self, slot: int, write: bool, offset_bytes: int) -> None:
        self._queued.append((slot, write, offset_bytes))

    def submit(self) -> None:
        self._in_flight += self._queued
        self._queued.clear()
        self.deepest = max(self.deepest, len(self._in_flight))

    def reap(self, timeout_s: float) -> list[Completion]:
        del timeout_s
        self.on_reap()
        if self.held:
            return []
        done, self._in_flight = self._in_flight[: self.per_reap], self._in_flight[self.per_reap :]
        return [(slot, self._move(slot, write, offset)) for slot, write, offset in done]

    def close(self) -> None:
        assert not self._in_flight

    def _move(self, slot: int, write: bool, offset: int) -> int:
        end = offset + self.arena.block_bytes
        if write:
            self.content[offset:end] = self.arena.write_buffers[slot]
        else:
            self.arena.read_buffers[slot][:] = self.content[offset:end]
        self.log.append((write, offset))
        return self.tamper(write, offset, self.arena.block_bytes)
