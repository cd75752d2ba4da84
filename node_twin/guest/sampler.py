"""Read every knob and counter of the node, inside the guest: on demand, or once a second.

The samples are `drcio.run/1` samples as plain JSON; nothing is concluded here. They stay in memory.
A sample costs CPU that a pod may want, so it opens few files and parses only what it keeps.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

from node_twin.cpustat import read_cpu
from node_twin.jsontypes import JsonObject, JsonValue
from node_twin.kerneltext import default_weight, keyed_lines, pressure_totals_us, read

log = logging.getLogger(__name__)

CGROUP_ROOT = Path("/sys/fs/cgroup")
SYS_ROOT = Path("/sys")
_SECTOR_BYTES = 512  # /sys/block/*/stat counts in 512-byte sectors whatever the device's own size
_NICENESS = 15
_PATIENCE_S = 5.0
_IO_NAMES = {"cost.wait": "cost_wait_us", "cost.usage": "cost_usage_us"}


class Sampler:
    """Take a sample now, or one every `interval_s` for as long as somebody has it `recording`.

    `pods` gives each pod's cgroup folder by name; `controller` the controller's own account or None.
    """

    def __init__(
        self,
        *,
        pods: Callable[[], Mapping[str, Path]],
        devices: Mapping[str, str],
        controller: Callable[[], JsonObject | None] = lambda: None,
        cgroup_root: Path = CGROUP_ROOT,
        sys_root: Path = SYS_ROOT,
        interval_s: float = 1.0,
    ) -> None:
        self._pods = pods
        self._devices = devices
        self._controller = controller
        self._cgroup_root = cgroup_root
        self._sys_root = sys_root
        self._interval_s = interval_s
        self._samples: list[JsonObject] = []
        self._taken = threading.Condition()

    @property
    def count(self) -> int:
        """Return how many samples were recorded until now: the index of the next one."""
        return len(self._samples)

    def since(self, index: int) -> list[JsonObject]:
        return self._samples[index:]

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record samples from now on, until the context ends."""
        stop = threading.Event()
        thread = threading.Thread(target=self._record, args=(stop,), name="sampler", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def wait_for_sample_after(self, t_s: float) -> None:
        """Wait for a sample begun after a moment; seconds long, since a look yields to everybody."""
        with self._taken:
            self._taken.wait_for(
                lambda: bool(self._samples) and cast(float, self._samples[-1]["t_s"]) > t_s,
                timeout=_PATIENCE_S,
            )

    def _record(self, stop: threading.Event) -> None:
        # A sample must not take the CPU from a request that a pod is answering.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        due = time.monotonic()
        while not stop.is_set():
            try:
                sample = self.sample()
            except Exception:
                # One look is lost, and the verdict counts it; without this all later ones would be.
                log.exception("event=sample_failed")
            else:
                with self._taken:
                    self._samples.append(sample)
                    self._taken.notify_all()
            due = max(due + self._interval_s, time.monotonic())
            stop.wait(due - time.monotonic())

    def sample(self) -> JsonObject:
        """Read everything now; `t_s` is the guest's monotonic clock."""
        root = self._cgroup_root
        pods: dict[str, JsonValue] = {}
        limits: dict[str, JsonValue] = {}
        for name, folder in self._pods().items():
            counters = pod_counters(folder)
            if counters is not None:
                pods[name] = counters
                limits[name] = read(folder / "io.max").strip()
        slices: dict[str, JsonValue] = {}
        for folder in (root / "kubepods.slice").glob("kubepods-*.slice"):
            weight = default_weight(read(folder / "io.weight"))
            if weight is not None:
                slices[folder.relative_to(root).as_posix()] = weight
        vrate = {}
        for device, fields in keyed_lines(read(root / "io.stat")).items():
            if "cost.vrate" in fields:
                vrate[device] = float(fields["cost.vrate"])
        return {
            "t_s": time.monotonic(),
            "pods": pods,
            "slices": slices,
            "device": {
                number: device_counters(self._sys_root, name) for number, name in self._devices.items()
            },
            "vrate_pct": vrate or None,
            "qos": read(root / "io.cost.qos").strip(),
            "model": read(root / "io.cost.model").strip(),
            "io_max": limits,
            "controller": self._controller(),
            "cpu": read_cpu(),
        }


def moved_bytes(folder: Path) -> int:
    """Return what a cgroup has read and written, on all devices together."""
    return sum(
        int(fields.get("rbytes", "0")) + int(fields.get("wbytes", "0"))
        for fields in keyed_lines(read(folder / "io.stat")).values()
    )


def pod_counters(folder: Path) -> JsonObject | None:
    """Read one pod's counters; None when its cgroup has gone."""
    stat = read(folder / "io.stat")
    cpu = dict(line.split() for line in read(folder / "cpu.stat").splitlines())
    if "usage_usec" not in cpu:
        return None
    io_some, io_full = pressure_totals_us(read(folder / "io.pressure"))
    return {
        "io": {
            device: {
                _IO_NAMES.get(key, key): int(value)
                for key, value in fields.items()
                if key.startswith(("rbytes", "wbytes", "rios", "wios", "cost.")) and value.isdigit()
            }
            for device, fields in keyed_lines(stat).items()
            if "rbytes" in fields
        },
        "io_pressure": {"some_us": io_some, "full_us": io_full},
        "cpu_pressure": {"some_us": pressure_totals_us(read(folder / "cpu.pressure"))[0]},
        "cpu_usage_us": int(cpu["usage_usec"]),
        "throttled_us": int(cpu.get("throttled_usec", 0)),
        "io_weight": default_weight(read(folder / "io.weight")),
    }


def device_counters(sys_root: Path, name: str) -> JsonObject:
    """Read /sys/block/NAME/stat (kernel: Documentation/block/stat.rst) and the active scheduler."""
    columns = [int(word) for word in read(sys_root / "block" / name / "stat").split()]
    scheduler = read(sys_root / "block" / name / "queue" / "scheduler")
    return {
        "reads": columns[0],
        "read_bytes": columns[2] * _SECTOR_BYTES,
        "read_ticks_ms": columns[3],
        "writes": columns[4],
        "write_bytes": columns[6] * _SECTOR_BYTES,
        "write_ticks_ms": columns[7],
        "in_flight": columns[8],
        "io_ticks_ms": columns[9],
        "queue_ticks_ms": columns[10],
        "scheduler": scheduler[scheduler.find("[") + 1 : scheduler.find("]")] if "[" in scheduler else "",
    }
