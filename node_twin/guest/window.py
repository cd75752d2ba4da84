"""The measured window, inside the guest: load, samples, and nothing that waits for the host."""

from __future__ import annotations

import contextlib
import http.client
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO, cast

from node_twin.guest.sampler import CGROUP_ROOT, SYS_ROOT, Sampler
from node_twin.jsontypes import JsonObject

CLIENT_SLICE: Final = "client.slice"
"""The load generator's cgroup. In life it is another machine; here it must not wait for the node's pods."""
_CLIENT_CPU_WEIGHT: Final = "10000"
IDLE_SLICE: Final = "idle.slice"
_SCRAPE_EVERY_S: Final = 1.0


class LoadGenerator:
    """The load generator's process; answers one request after the other."""

    def __init__(self, cgroup_root: Path = CGROUP_ROOT) -> None:
        self._folder = cgroup_root / CLIENT_SLICE
        self._folder.mkdir(exist_ok=True)
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "node_twin.guest.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._requests = cast("TextIO", self._process.stdin)
        self._answers = cast("TextIO", self._process.stdout)
        (self._folder / "cgroup.procs").write_text(str(self._process.pid))
        self._ready = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: JsonObject) -> JsonObject:
        """Have one request carried out; raises ValueError with the process's own reason."""
        with self._lock:
            if not self._ready:
                self._answers.readline()
                (self._folder / "cpu.weight").write_text(_CLIENT_CPU_WEIGHT)
                self._ready = True
            self._requests.write(json.dumps(request, separators=(",", ":")) + "\n")
            self._requests.flush()
            line = self._answers.readline()
        if not line:
            raise ValueError("the load generator has ended; the console has its traceback")
        answer = cast(JsonObject, json.loads(line))
        if "error" in answer:
            raise ValueError(str(answer["error"]))
        return answer


class IdleTime:
    """The process that executes the guest's idle time (idle.py), for as long as something is measured."""

    def __init__(self, *, virtual: bool, cgroup_root: Path = CGROUP_ROOT) -> None:
        self._folder = cgroup_root / IDLE_SLICE
        self._process: subprocess.Popen[bytes] | None = None
        self._users = 0
        self._lock = threading.Lock()
        if virtual:
            script = Path(__file__).with_name("idle.py")
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(script)], stdin=subprocess.DEVNULL
            )
            # It reads its files now, and not in the first window.
            found = os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if found is None or found.si_code != os.CLD_STOPPED:
                raise ChildProcessError(f"{script} ended before anything was measured")
            self._folder.mkdir(exist_ok=True)
            (self._folder / "cgroup.procs").write_text(str(self._process.pid))

    def execute(self, *, on: bool) -> None:
        """Begin, or end; it goes on until each who began has ended."""
        with self._lock:
            self._users += 1 if on else -1
            if self._process is not None:
                # The process's own class counts among its cgroup's tasks only, and a session's tasks are
                # one (autogroup): unless the cgroup is idle too, who wakes up waits for the next tick.
                (self._folder / "cpu.idle").write_text("1")
                self._process.send_signal(signal.SIGCONT if self._users else signal.SIGSTOP)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @contextlib.contextmanager
    def executed(self) -> Iterator[None]:
        self.execute(on=True)
        try:
            yield
        finally:
            self.execute(on=False)


class Window:
    """What happens in a measured window, and what is kept of it."""

    def __init__(self, sampler: Sampler, load: LoadGenerator, idle: IdleTime) -> None:
        self._sampler = sampler
        self._load = load
        self._idle = idle
        self._warm: set[tuple[int, int]] = set()

    def run(self, plan: JsonObject, scraped_ports: Sequence[int] = ()) -> JsonObject:
        """Run a plan; return its record, the samples around it and when its measured part began.

        With the metrics pages of the ports given, one a second of each.
        """
        with scraping(scraped_ports) as pages, self.observed() as samples:
            host_files = host_file_requests()
            begun_s = time.monotonic()
            answer = self._load.ask({"op": "run", "plan": plan})
            ended_s = time.monotonic()
            host_files = host_file_requests() - host_files
            self._sampler.wait_for_sample_after(ended_s)
        return {
            "record": answer["record"],
            "window_start_s": cast(float, answer["began_s"]) + cast(float, plan["warmup_s"]),
            "samples": samples,
            "guest_s": ended_s - begun_s,
            "host_file_requests": host_files,
            "pages": pages,
        }

    @contextlib.contextmanager
    def observed(self) -> Iterator[list[JsonObject]]:
        """Take samples for as long as the context lasts, in a guest that needs its host for nothing."""
        self.warm_up()
        samples: list[JsonObject] = []
        with self._idle.executed(), self._sampler.recording():
            first = self._sampler.count
            yield samples
        samples += self._sampler.since(first)

    def warm_up(self) -> None:
        """Read all programs and libraries that run here, so that no page of them is fetched later.

        And take a sample: what it needs for the first time, an encoding say, Python imports then.
        """
        self._sampler.sample()
        folders = (CGROUP_ROOT / "kubepods.slice").glob("**/cgroup.procs")
        for pid in {os.getpid(), self._load.pid, *_members(folders)}:
            for file in _mapped_files(pid):
                with contextlib.suppress(OSError, ValueError):  # unmapped, shortened or ended meanwhile
                    self._read(file)

    def _read(self, file: Path) -> None:
        fd = os.open(file, os.O_RDONLY)
        try:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) in self._warm or not status.st_size:
                return
            self._warm.add((status.st_dev, status.st_ino))
            flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
            mmap.mmap(fd, 0, flags=flags, prot=mmap.PROT_READ).close()
        finally:
            os.close(fd)


def host_file_requests(sys_root: Path = SYS_ROOT) -> int:
    """Return how often the host has answered a request for its files (interrupts of virtio-9p)."""
    return sum(
        int(count)
        for interrupt in (sys_root / "kernel" / "irq").iterdir()
        if (interrupt / "actions").read_text().strip().endswith("-requests")
        for count in (interrupt / "per_cpu_count").read_text().split(",")
    )


@contextlib.contextmanager
def scraping(ports: Sequence[int]) -> Iterator[list[JsonObject]]:
    """Fetch /metrics of the node's ports once a second while the context lasts, as Prometheus would."""
    pages: list[JsonObject] = []
    stop = threading.Event()

    def scrape() -> None:
        due_s = time.monotonic()
        while not stop.is_set():
            for port in ports:
                with contextlib.suppress(OSError, http.client.HTTPException):  # not there, or no more
                    at_s = time.monotonic()
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                        pages.append({"t_s": at_s, "port": port, "text": answer.read().decode()})
            due_s = max(due_s + _SCRAPE_EVERY_S, time.monotonic())
            stop.wait(due_s - time.monotonic())

    if not ports:
        yield pages
        return
    thread = threading.Thread(target=scrape, name="scraper", daemon=True)
    thread.start()
    try:
        yield pages
    finally:
        stop.set()
        thread.join()


def _members(files: Iterable[Path]) -> Iterator[int]:
    for file in files:
        with contextlib.suppress(OSError):  # the cgroup has gone
            yield from map(int, file.read_text().split())


def _mapped_files(pid: int) -> Iterator[Path]:
    """Return the files that a process has mapped, by names that hold in any mount namespace."""
    folder = Path(f"/proc/{pid}/map_files")
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, _, _, _, inode, *_ = line.split(maxsplit=5)
            if inode != "0":
                yield folder / _as_map_file(span)


def _as_map_file(span: str) -> str:
    """Return the name in map_files of a range in maps, whose zeros are padded."""
    start, _, end = span.partition("-")
    return f"{int(start, 16):x}-{int(end, 16):x}"
