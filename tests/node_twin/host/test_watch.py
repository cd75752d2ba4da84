"""What the host notices while it waits for a guest, by whose clock."""

import itertools
from collections.abc import Iterator
from concurrent.futures import Future
from typing import cast

import httpx
import pytest

from node_twin.errors import GuestDied
from node_twin.host.vm import Guest
from node_twin.host.watch import Limit, Watch


class RunningGuest:
    """A guest whose clock shows one given second after the other, and the last one from then on."""

    def __init__(self, seconds: Iterator[int], *, dies: bool = False) -> None:
        self._seconds = seconds
        self._shown = 0
        self._dies = dies

    def qmp(self, execute: str, **_arguments: object) -> dict[str, int]:
        assert execute == "qom-get"
        self._shown = next(self._seconds, self._shown)
        return {
            "tm_year": 126,
            "tm_mon": 10,
            "tm_mday": 27,
            "tm_hour": self._shown // 3600,
            "tm_min": self._shown // 60 % 60,
            "tm_sec": self._shown % 60,
        }

    def check(self) -> None:
        if self._dies:
            raise GuestDied("the guest stopped")

    def console_tail(self) -> str:
        return "last words"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node_twin.host.watch._LOOK_EVERY_S", 0.01)
    monkeypatch.setattr("node_twin.host.watch._STUCK_AFTER_S", 0.2)


def watch(seconds: Iterator[int], limit: Limit, *, dies: bool = False) -> list[float]:
    """Watch a call that is never answered; return what was told of the guest's seconds."""
    told: list[float] = []
    guest = cast(Guest, RunningGuest(seconds, dies=dies))
    Watch(guest).until_done(Future[httpx.Response](), "GET /x", told.append, limit)
    return told


def test_clock_that_stands_still_is_a_dead_guest() -> None:
    with pytest.raises(GuestDied, match="stood still") as raised:
        watch(iter([5]), Limit())
    assert raised.value.console_tail == "last words"


def test_guest_that_ends_is_noticed_at_once() -> None:
    with pytest.raises(GuestDied, match="the guest stopped"):
        watch(itertools.count(), Limit(), dies=True)


def test_guests_own_seconds_limit_an_answer_however_long_they_last() -> None:
    with pytest.raises(GuestDied, match="within 30 s of the guest's time"):
        watch(itertools.count(step=10), Limit(guest_s=30))


def test_hosts_seconds_limit_a_start_however_many_the_guest_has_counted() -> None:
    with pytest.raises(GuestDied, match="no answer to GET /x within 0 s"):
        watch(itertools.count(step=1000), Limit(host_s=0.1))


def test_answer_ends_the_watch_and_the_guests_seconds_are_told() -> None:
    told: list[float] = []
    call: Future[httpx.Response] = Future()

    def on_elapsed(seconds: float) -> None:
        told.append(seconds)
        if len(told) == 3:
            call.set_result(httpx.Response(200))

    guest = cast(Guest, RunningGuest(itertools.count(100, 2)))
    Watch(guest).until_done(call, "GET /x", on_elapsed, Limit())
    assert told == [2, 4, 6]
