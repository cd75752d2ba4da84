"""What a test can make the API server do wrong."""

from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Failure:
    """An error answer in place of the real one."""

    code: HTTPStatus
    retry_after_s: int | None


@dataclass(slots=True)
class Faults:
    """Faults to come; set by the test's thread, taken by the server's."""

    failures: deque[Failure] = field(default_factory=deque)
    """Answered to the next requests, one each."""
    delay_s: float = 0.0
    """Every answer, and every watch event, waits for so long."""
    cuts: int = 0
    """In the middle of so many of the next watch lines the connection is dropped."""
    garbage: deque[bytes] = field(default_factory=deque)
    """Sent on a watch, a line before each of its next events."""

    def fail_next(self, count: int, code: HTTPStatus | int, *, retry_after_s: int | None = None) -> None:
        """Answer the next `count` requests with `code`."""
        self.failures.extend([Failure(HTTPStatus(code), retry_after_s)] * count)
