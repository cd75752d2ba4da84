"""However a twin ends, nothing of it is left on the host."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from node_twin.errors import BootError, GuestDied
from node_twin.host.kernel import Kernel, ensure_kernel
from node_twin.host.vm import GuestConfig, booted
from tests.twin.conftest import CACHE

pytestmark = pytest.mark.twin

REPOSITORY = Path(__file__).resolve().parents[3]
_OWNER = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by a shell's background jobs
from experiments.records.spec import parse_volume
from node_twin.host.kernel import ensure_kernel
from node_twin.host.vm import GuestConfig, booted
from node_twin.volume.image import VolumeRequest, attached
cache, console = Path(sys.argv[1]), Path(sys.argv[2])
request = VolumeRequest(claim="data", limits=parse_volume("gp3"), size_bytes=64 << 20)
with attached([request], spill_dir=cache / "volumes") as images:
    config = GuestConfig(
        kernel=ensure_kernel(cache / "kernel"), command=["sleep", "600"], cwd=Path.cwd(),
        volumes=images, memory_mib=512, cpus=1,
    )
    with booted(config, console=console) as guest:
        print(guest.pid, flush=True)
        guest.wait_until(lambda: False, timeout_s=600, what="end")
"""


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    return ensure_kernel(CACHE / "twin" / "kernel")


def image_files() -> set[Path]:
    """Return the files where volume images are made."""
    places = (Path("/dev/shm"), CACHE / "twin" / "volumes")
    return {path for place in places if place.is_dir() for path in place.iterdir()}


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").exists()


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_owner_takes_its_guest_along(number: signal.Signals, tmp_path: Path) -> None:
    before = image_files()
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(CACHE / "twin"), str(tmp_path / "console.log")],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert owner.stdout is not None
        with owner.stdout:
            guest_pid = int(owner.stdout.readline())
        assert alive(guest_pid)
        owner.send_signal(number)
        owner.wait(30)
    finally:
        owner.kill()
        owner.wait()
    assert within(10, lambda: not alive(guest_pid))
    assert image_files() == before
    assert list(scratch.iterdir()) == []


def test_panic_is_told_with_the_console(kernel: Kernel, tmp_path: Path) -> None:
    config = GuestConfig(
        kernel=kernel,
        command=["sh", "-c", "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger"],
        cwd=REPOSITORY,
        cpus=1,
        memory_mib=512,
    )
    with (
        pytest.raises(BootError, match="the guest stopped before") as raised,
        booted(config, console=tmp_path / "console.log") as guest,
    ):
        guest.wait_until(lambda: False, timeout_s=180, what="anything")
    assert "sysrq" in raised.value.console_tail.lower() or "panic" in raised.value.console_tail.lower()


def test_dead_guest_is_noticed_in_use(kernel: Kernel, tmp_path: Path) -> None:
    config = GuestConfig(kernel=kernel, command=["sleep", "60"], cwd=REPOSITORY, cpus=1, memory_mib=512)
    with booted(config, console=tmp_path / "console.log") as guest:
        guest.check()
        os.kill(guest.pid, signal.SIGKILL)
        assert within(10, guest.exited)
        with pytest.raises(GuestDied, match="the guest stopped"):
            guest.check()


def test_hung_guest_is_given_up(kernel: Kernel, tmp_path: Path) -> None:
    config = GuestConfig(kernel=kernel, command=["sleep", "60"], cwd=REPOSITORY, cpus=1, memory_mib=512)
    with (
        pytest.raises(BootError, match="no answer within 1 s"),
        booted(config, console=tmp_path / "console.log") as guest,
    ):
        guest.wait_until(lambda: False, timeout_s=1, what="answer")
    assert not alive(guest.pid)
