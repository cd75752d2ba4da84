"""A signal ends every guest at once, and whoever waits for one."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node_twin.host import ending
from node_twin.host.vm import Guest


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    """A process in a guest's place, whose control socket somebody holds."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(["sleep", "600"])
    guest = Guest(process, tmp_path / "console.log", ours)
    ending.follow(process)
    with theirs:
        yield guest
    guest.stop()


def signalled(number: signal.Signals, tidy: Callable[[], None]) -> None:
    """Do something long, be sent a signal under way, and tidy up as experiments do."""
    with ending.ended_by_signals():
        try:
            os.kill(os.getpid(), number)
            time.sleep(60)
        finally:
            tidy()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_guests_and_cuts_tidying_short(
    guest: Guest, number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    tidied = []

    def tidy() -> None:
        guest.check()
        tidied.append("pods deleted")

    begun_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        signalled(number, tidy)
    assert time.monotonic() - begun_s < 10
    assert not tidied
    assert guest._process.wait(10) == -signal.SIGKILL
    assert "interrupted: ending the guests..." in capfd.readouterr().err


def test_who_waits_in_another_thread_is_interrupted_too(guest: Guest) -> None:
    seen: list[BaseException] = []
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        try:
            guest.wait_until(lambda: False, timeout_s=60, what="answer")
        except BaseException as error:  # noqa: BLE001 - looked at below
            seen.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(10)
    with pytest.raises(KeyboardInterrupt):
        signalled(signal.SIGTERM, lambda: thread.join(10))
    assert [type(error) for error in seen] == [KeyboardInterrupt]


@pytest.mark.parametrize(
    "look",
    [Guest.check, lambda guest: guest.wait_until(lambda: False, timeout_s=10, what="answer")],
    ids=["check", "wait_until"],
)
def test_guest_that_is_ended_while_it_is_looked_at_has_not_died(
    guest: Guest, look: Callable[[Guest], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended_now() -> bool:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        return guest._process.wait(10) is not None

    monkeypatch.setattr(guest, "exited", ended_now)
    with ending.ended_by_signals(), pytest.raises(KeyboardInterrupt):
        look(guest)


def test_guest_that_starts_meanwhile_is_ended(capfd: pytest.CaptureFixture[str]) -> None:
    def boot() -> None:
        with subprocess.Popen(["sleep", "600"]) as late:
            with pytest.raises(KeyboardInterrupt):
                ending.follow(late)
            ending.forget(late)

    with pytest.raises(KeyboardInterrupt):
        signalled(signal.SIGINT, boot)
    assert "interrupted: clearing up..." in capfd.readouterr().err


def test_handlers_and_guests_are_as_before_afterwards(guest: Guest) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ending.ended_by_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    guest.check()
