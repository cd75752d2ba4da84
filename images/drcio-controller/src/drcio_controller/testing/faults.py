"""What a test can make the API server do wrong."""

import threading
from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Failure:
    """An error answer in place of the real one."""

    code: HTTPStatus
    retry_after_s: int | None


class Faults:
    """Faults to come; set by the test's thread, taken by the server's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: list[Failure] = []
        self._delay_s = 0.0
        self._cuts = 0
        self._garbage: list[bytes] = []

    def fail_next(self, count: int, code: HTTPStatus | int, *, retry_after_s: int | None = None) -> None:
        """Answer the next `count` requests with `code`."""
        with self._lock:
            self._failures += [Failure(HTTPStatus(code), retry_after_s)] * count

    def delay(self, seconds: float) -> None:
        """Let every answer, and every watch event, wait for so long; 0 ends that."""
        with self._lock:
            self._delay_s = seconds

    def cut_watches(self, count: int = 1) -> None:
        """Drop the connection in the middle of the next `count` watch lines."""
        with self._lock:
            self._cuts += count

    def send_garbage(self, line: bytes) -> None:
        """Send `line` on a watch before its next event."""
        with self._lock:
            self._garbage.append(line)

    def take_failure(self) -> Failure | None:
        """Return the failure that the current request meets."""
        with self._lock:
            return self._failures.pop(0) if self._failures else None

    def take_cut(self) -> bool:
        """Return whether the current watch line is cut."""
        with self._lock:
            self._cuts, cut = max(self._cuts - 1, 0), self._cuts > 0
            return cut

    def take_garbage(self) -> bytes:
        """Return what goes before the current watch line."""
        with self._lock:
            return self._garbage.pop(0) if self._garbage else b""

    @property
    def delay_s(self) -> float:
        """Return the current delay."""
        with self._lock:
            return self._delay_s
