"""A node made of plain files: kubelet's cgroup tree and a disk, with the kernel's manners in writing.

For tests and for `bench`. What it imitates is compared with a real kernel in the node twin's tests.
"""

from __future__ import annotations

import errno
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from drcio_controller.errors import Busy, NotSupported, Vanished
from drcio_controller.kernel.drain import FREEZING_FILES
from drcio_controller.kernel.knob import Roots
from drcio_controller.kernel.parse import DeviceId, Limits, parse_io_max, parse_settings, parse_weights
from drcio_controller.kube.pod import QosClass
from drcio_controller.pods.mapping import Driver, Hierarchy

DEVICE: Final = DeviceId("259:3")
DEVICE_NAME: Final = "nvme1n1"

_IO_FILES: Final = {"io.stat": "", "io.weight": "default 100\n", "io.max": "", "io.pressure": ""}
_PRESSURE: Final = (
    "some avg10=0.00 avg60=0.00 avg300=0.00 total={some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
)
_AUTO_QOS: Final = (
    "enable={enable} ctrl=auto rpct=0.00 rlat=250000 wpct=0.00 wlat=250000 min=1.00 max=10000.00"
)
_AUTO_MODEL: Final = (
    "ctrl=auto model=linear rbps=488636629 rseqiops=8932 rrandiops=8518"
    " wbps=427891549 wseqiops=28755 wrandiops=21940"
)


@dataclass(slots=True)
class _Counters:
    rbytes: int = 0
    wbytes: int = 0
    rios: int = 0
    wios: int = 0
    usage_us: int = 0


@dataclass(slots=True)
class FakeNode:
    """Build it in an empty folder; `roots` is what the controller is given."""

    folder: Path
    iocost: bool = True
    serial: str = "vol0123456789abcdef0"
    refuse: set[str] = field(default_factory=set)
    """Names of files whose writes are refused, as on a read-only mount."""
    busy: set[str] = field(default_factory=set)
    """Paths below the cgroup root whose writes are refused for now, as while a child still has its
    controller."""
    ignore: set[str] = field(default_factory=set)
    """Names of files whose writes succeed and change nothing."""
    paused: dict[DeviceId, threading.Event] = field(default_factory=dict)
    """Devices that end no request until the event is set: a write that freezes their queue waits for it."""
    writes: list[tuple[str, str]] = field(default_factory=list)
    """Every write that took, as path below the cgroup root (or sysfs) and text."""
    hierarchy: Hierarchy = field(default_factory=lambda: Hierarchy(Driver.SYSTEMD, "kubepods.slice"))
    _counters: dict[tuple[str, DeviceId], _Counters] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        root = self.roots.cgroup
        root.mkdir(parents=True)
        (root / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (root / "cgroup.subtree_control").write_text("cpu io memory\n")
        (root / "io.stat").write_text("")
        if self.iocost:
            (root / "io.cost.qos").write_text("")
            (root / "io.cost.model").write_text("")
        for path in (self.hierarchy.kubepods, *self.hierarchy.slices):
            self._make_cgroup(path)
        self.add_device(DEVICE, DEVICE_NAME, self.serial)

    @property
    def roots(self) -> Roots:
        return Roots(self.folder / "cgroup", self.folder / "sys")

    def add_device(self, device: DeviceId, name: str, serial: str = "") -> None:
        """Put a disk into sysfs."""
        disk = self.roots.sys / "block" / name
        (disk / "queue").mkdir(parents=True)
        (disk / "device").mkdir()
        (disk / "dev").write_text(f"{device}\n")
        (disk / "stat").write_text(" ".join(["0"] * 17) + "\n")
        (disk / "queue" / "scheduler").write_text("[none] mq-deadline bfq\n")
        (disk / "device" / "serial").write_text(f"{serial}\n")
        link = self.roots.sys / "dev" / "block" / device
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(disk)

    def add_pod(self, uid: str, qos: QosClass) -> str:
        """Make a pod's cgroup and return its path."""
        cgroup = self.hierarchy.pod(uid, qos)
        self._make_cgroup(cgroup)
        return cgroup

    def add_overhead(self, cgroup: str) -> str:
        """Make the cgroup that Kata moves a pod's I/O threads to, and return its path."""
        path = f"kata_overhead/{cgroup}"
        for depth in range(1, path.count("/") + 2):
            level = "/".join(path.split("/")[:depth])
            if not (self.roots.cgroup / level).exists():
                self._make_cgroup(level)
        return path

    def add_container(self, cgroup: str, container_id: str) -> None:
        """Make a container's cgroup in a pod's, named as containerd names it."""
        (self.roots.cgroup / cgroup / f"cri-containerd-{container_id}.scope").mkdir()

    def remove_pod(self, cgroup: str) -> None:
        """Remove a pod's cgroup."""
        shutil.rmtree(self.roots.cgroup / cgroup)

    def do_io(
        self,
        cgroup: str,
        *,
        read_bytes: int = 0,
        written_bytes: int = 0,
        ios: int = 1,
        usage_us: int = 0,
        latency_ms: float = 1.0,
        in_flight: int = 0,
        device: DeviceId = DEVICE,
    ) -> None:
        """Let a pod do I/O: its own counters, the root's and the device's grow."""
        for path in (cgroup, ""):
            counters = self._counters.setdefault((path, device), _Counters())
            counters.rbytes += read_bytes
            counters.wbytes += written_bytes
            counters.rios += ios if read_bytes else 0
            counters.wios += 0 if read_bytes else ios
            counters.usage_us += usage_us
            self._show(path)
        stat = self.roots.sys / "dev" / "block" / device / "stat"
        words = [int(word) for word in stat.read_text().split()]
        offset = 0 if read_bytes else 4
        words[offset] += ios
        words[offset + 2] += (read_bytes or written_bytes) // 512
        words[offset + 3] += round(ios * latency_ms)
        words[8] = in_flight
        stat.write_text(" ".join(map(str, words)) + "\n")

    def write(self, file: str, text: str) -> None:
        """Write as the kernel takes it; stands in for `cgroupfs.files.write_text`."""
        path = Path(file)
        if not path.exists():
            raise Vanished(f"cannot write {path}: no such file")
        if path.name in FREEZING_FILES and (resumed := self.paused.get(self._device_of(path, text))):
            resumed.wait()
        if path.name in self.refuse:
            raise NotSupported(f"cannot write {path}: {errno.errorcode[errno.EROFS]}")
        if str(path.relative_to(self.folder / path.relative_to(self.folder).parts[0])) in self.busy:
            raise Busy(f"cannot write {path}: {errno.errorcode[errno.EBUSY]}")
        with self._lock:
            self._take(path, text)

    def _take(self, path: Path, text: str) -> None:
        root = self.roots.sys if path.is_relative_to(self.roots.sys) else self.roots.cgroup
        self.writes.append((str(path.relative_to(root)), text))
        if path.name in self.ignore:
            return
        key, _, rest = text.partition(" ")
        match path.name:
            case "io.weight" | "io.bfq.weight":
                self._write_weight(path, key, rest)
            case "io.max":
                limits = parse_io_max(path.read_text())
                # Keys that are not written keep what they have.
                kept = limits.get(DeviceId(key), Limits()).render()
                limits |= parse_io_max(f"{key} {kept} {rest}")
                lines = [f"{dev} {limit.render()}" for dev, limit in limits.items() if limit != Limits()]
                path.write_text("".join(f"{line}\n" for line in lines))
            case "io.cost.qos" | "io.cost.model":
                self._write_settings(path, DeviceId(key), rest.split())
            case "cgroup.subtree_control":
                self._write_controllers(path, text)
            case "scheduler":
                names = [word.strip("[]") for word in path.read_text().split()]
                path.write_text(" ".join(f"[{name}]" if name == text else name for name in names) + "\n")
            case _:
                path.write_text(text)

    def pause(self, device: DeviceId = DEVICE, *, in_flight: int = 8) -> None:
        """Let a device end no request any more, with so many in it."""
        self.paused[device] = threading.Event()
        self._set_in_flight(device, in_flight)

    def resume(self, device: DeviceId = DEVICE) -> None:
        """Let a device end its requests."""
        self.let_drain(device)
        self.paused.pop(device).set()

    def let_drain(self, device: DeviceId = DEVICE) -> None:
        """Let whatever is in a device end."""
        self._set_in_flight(device, 0)

    def read(self, file: str) -> str:
        """Return a file's text, by its path below the cgroup root."""
        return (self.roots.cgroup / file).read_text()

    def _device_of(self, path: Path, text: str) -> DeviceId:
        if path.name == "scheduler":
            return DeviceId((path.parent.parent / "dev").read_text().strip())
        return DeviceId(text.partition(" ")[0])

    def _set_in_flight(self, device: DeviceId, count: int) -> None:
        stat = self.roots.sys / "dev" / "block" / device / "stat"
        words = stat.read_text().split()
        words[8] = str(count)
        stat.write_text(" ".join(words) + "\n")

    def _make_cgroup(self, path: str) -> None:
        folder = self.roots.cgroup / path
        folder.mkdir(parents=True)
        (folder / "cgroup.subtree_control").write_text("cpu io memory\n")
        for name, text in _IO_FILES.items():
            (folder / name).write_text(text)
        (folder / "io.pressure").write_text(_PRESSURE.format(some=0))
        (folder / "cpu.pressure").write_text(_PRESSURE.format(some=0))
        (folder / "io.bfq.weight").write_text("default 100\n")

    def _show(self, path: str) -> None:
        lines = []
        for (owner, device), counters in self._counters.items():
            if owner != path:
                continue
            line = (
                f"{device} rbytes={counters.rbytes} wbytes={counters.wbytes}"
                f" rios={counters.rios} wios={counters.wios} dbytes=0 dios=0"
            )
            lines.append(f"{line} cost.usage={counters.usage_us}" if self._iocost_on(device) else line)
        (self.roots.cgroup / path / "io.stat").write_text("".join(f"{line}\n" for line in lines))

    def _iocost_on(self, device: DeviceId) -> bool:
        if not self.iocost:
            return False
        return parse_settings(self.read("io.cost.qos"), "qos").get(device, {}).get("enable") == "1"

    def _write_weight(self, path: Path, key: str, value: str) -> None:
        weights = parse_weights(path.read_text())
        default = int(value) if key == "default" else weights.default
        per_device = dict(weights.per_device)
        if key != "default":
            per_device.pop(DeviceId(key), None)
            if value != "default":
                per_device[DeviceId(key)] = int(value)
        lines = [f"default {default}", *(f"{device} {weight}" for device, weight in per_device.items())]
        path.write_text("".join(f"{line}\n" for line in lines))

    def _write_settings(self, path: Path, device: DeviceId, words: list[str]) -> None:
        settings = {key: dict(value) for key, value in parse_settings(path.read_text(), path.name).items()}
        given = dict(word.split("=", 1) for word in words)
        auto = _AUTO_MODEL if path.name == "io.cost.model" else _AUTO_QOS.format(enable=0)
        line = settings.get(device) or dict(word.split("=", 1) for word in auto.split())
        line |= dict(word.split("=", 1) for word in auto.split()) if given.get("ctrl") == "auto" else {}
        settings[device] = line | given
        path.write_text(
            "".join(
                f"{key} {' '.join(f'{name}={value}' for name, value in values.items())}\n"
                for key, values in settings.items()
            )
        )

    def _write_controllers(self, path: Path, text: str) -> None:
        enabled = path.read_text().split()
        sign, name = text[0], text[1:]
        kept = [word for word in enabled if word != name]
        path.write_text(" ".join([*kept, name] if sign == "+" else kept) + "\n")
        if name != "io":
            return
        for child in path.parent.iterdir():
            if not child.is_dir():
                continue
            for file, content in _IO_FILES.items():
                if sign == "-":
                    (child / file).unlink(missing_ok=True)
                elif not (child / file).exists():
                    (child / file).write_text(content)
