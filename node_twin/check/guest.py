"""In the guest: measure the volumes and the kernel's I/O controls with fio, and print what came out as JSON.

Started by `node_twin.check.rows`, which knows what each figure must be; here nothing is judged.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from node_twin.jsontypes import JsonObject, JsonValue
from node_twin.volume import blockdevice
from node_twin.volume.blockdevice import BlockDevices

_CGROUP: Final = Path("/sys/fs/cgroup")
_SETTLE_S: Final = 1
_MEASURE_S: Final = 3
_LOOK_S: Final = 0.01
_MEMORY: Final = Path("/run/check-fio")
_OPTIONS: Final = ("--direct=1", "--ioengine=libaio", "--output-format=json")
_BURSTS: Final = (
    *("--rw=randread", "--bs=4k", "--iodepth=24", "--iodepth_batch_submit=24"),
    *("--iodepth_batch_complete_min=24", "--thinktime=20ms", "--thinktime_blocks=24"),
)
"""High priority: 24 small reads at once, then a pause, as the scoring service fetches features."""
_BULK: Final = ("--rw=randrw", "--bs=1M", "--iodepth=32")
"""Low priority: 32 MiB in flight."""
_OFF: Final = "enable=0"
_MODEL: Final = (
    "ctrl=user model=linear rbps=131072000 rseqiops=3000 rrandiops=3000 "
    "wbps=131072000 wseqiops=3000 wrandiops=3000"
)
"""iocost's model of a gp3 volume."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volume-server", type=Path, required=True)
    parser.add_argument("--volume", action="append", required=True, type=blockdevice.parse_guest_volume)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    with _held_clock():
        devices = blockdevice.start(options.volume_server, options.volume)
        _run(_probe(devices, ("--rw=randrw", "--bs=4k", "--iodepth=4"), seconds=0.2))  # fio's own pages
    begun_s = time.monotonic()
    figures: dict[str, JsonValue] = {}
    for part in (_device, _volume, _controls, _protection, _shares):
        name = part.__name__.removeprefix("_")
        figures[name] = part(devices)
        print(f"{time.monotonic() - begun_s:.1f} s: {name} measured", flush=True)
    figures["seconds"] = time.monotonic() - begun_s
    options.output.write_text(json.dumps(figures), encoding="utf-8")
    return 0


@contextlib.contextmanager
def _held_clock() -> Iterator[None]:
    """Keep the CPU busy at the lowest priority: idle, the clock would leap while the host is waited for."""
    spinner = subprocess.Popen(["chrt", "-i", "0", "sh", "-c", "while :; do :; done"])
    try:
        yield
    finally:
        spinner.kill()
        spinner.wait()


# --- fio ----------------------------------------------------------------------------------------


def _fio() -> list[str]:
    """Return the words that run fio from memory.

    From the host's file system each start would wait for the host, and the guest's clock run ahead: what
    is to be measured side by side would miss each other.
    """
    loader = _MEMORY / "loader"
    if not loader.exists():
        _MEMORY.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", str(_MEMORY)], check=True)
        program = shutil.which("fio")
        if program is None:
            raise SystemExit("no fio on PATH")
        listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for path in re.findall(r"(/\S+) \(0x", listing):
            shutil.copy(path, loader if "/ld-linux" in path else _MEMORY)
        shutil.copy(program, _MEMORY / "fio")
    return [str(loader), "--library-path", str(_MEMORY), str(_MEMORY / "fio")]


def _probe(
    devices: BlockDevices, options: Sequence[str], *, seconds: float = _MEASURE_S, claim: str = "first"
) -> list[str]:
    target = f"--filename=/dev/{devices.names[claim]}"
    runtime = f"--runtime={round(seconds * 1000)}ms"
    return [*_fio(), "--name=probe", target, *_OPTIONS, "--time_based", runtime, *options]


def _started(command: Sequence[str], cgroup: Path | None = None) -> subprocess.Popen[str]:
    """Start a command, in a cgroup from its first instruction on."""

    def enter() -> None:
        if cgroup is not None:
            (cgroup / "cgroup.procs").write_text("0")  # whoever writes

    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=enter)


def _busy(devices: BlockDevices, command: Sequence[str], cgroup: Path | None = None) -> subprocess.Popen[str]:
    """Start a command on the idle first volume, and return when it does I/O.

    Until then its program may have to come from the host, which takes a busy one any of the guest's time.
    """

    def requests() -> list[str]:
        # Reads and writes that completed, and those in flight (Documentation/block/stat.rst).
        fields = (Path("/sys/block") / devices.names["first"] / "stat").read_text().split()
        return [fields[0], fields[4], fields[8]]

    before = requests()
    process = _started(command, cgroup)
    while requests() == before and process.poll() is None:
        time.sleep(_LOOK_S)
    return process


def _result(process: subprocess.Popen[str]) -> JsonObject:
    """Wait for fio; return its totals, and latencies of its reads in milliseconds."""
    output, _ = process.communicate()
    (job,) = json.loads(output[output.index("{") :])["jobs"]
    sides = (job["read"], job["write"])
    percentiles = (job["read"] if job["read"]["total_ios"] else job["write"])["clat_ns"].get("percentile", {})
    return {
        "iops": sum(side["iops"] for side in sides),
        "mib_s": sum(side["bw_bytes"] for side in sides) / (1 << 20),
        "error": job["error"],
        "max_ms": max(side["clat_ns"]["max"] for side in sides) / 1e6,
        **{
            f"p{key.split('.')[0]}_ms": value / 1e6
            for key, value in percentiles.items()
            if key.endswith(".000000")
        },
    }


def _run(command: Sequence[str]) -> JsonObject:
    return _result(_started(command))


# --- the bare volume ----------------------------------------------------------------------------


def _device(devices: BlockDevices) -> JsonObject:
    name = devices.names["first"]
    block = Path("/sys/block") / name
    return {
        "name": name,
        "serial": (block / "device" / "serial").read_text().strip(),
        "model": (block / "device" / "model").read_text().strip(),
        "queue": {
            knob: (block / "queue" / knob).read_text().strip()
            for knob in ("scheduler", "max_sectors_kb", "write_cache")
        },
        "blk_mq": (block / "mq").is_dir(),
    }


def _volume(devices: BlockDevices) -> JsonObject:
    steady = f"--ramp_time={_SETTLE_S}s"
    figures: dict[str, JsonValue] = {
        "one_at_a_time": _run(_probe(devices, ("--rw=randread", "--bs=4k", "--iodepth=1"))),
        "small_reads": _run(_probe(devices, ("--rw=randread", "--bs=4k", "--iodepth=32", steady))),
        "large_reads": _run(_probe(devices, ("--rw=randread", "--bs=1M", "--iodepth=32", steady))),
        "large_writes": _run(_probe(devices, ("--rw=randwrite", "--bs=1M", "--iodepth=32", steady))),
    }
    for name, iops, mib_s in (("both_by_bytes", 1000, 50), ("both_by_count", 700, 50)):
        devices.ask(f"modify all iops={iops} mib_s={mib_s}")
        figures[name] = _run(_probe(devices, ("--rw=randrw", "--bs=64k", "--iodepth=8", steady)))
    devices.ask("modify all iops=3000 mib_s=125")
    figures["kept"] = _run(
        [
            *("fio", "--name=kept", f"--filename=/dev/{devices.names['first']}", "--direct=1", "--size=32M"),
            *(
                "--ioengine=libaio",
                "--output-format=json",
                "--rw=randwrite",
                "--bsrange=4k-256k",
                "--iodepth=8",
            ),
            *("--verify=crc32c", "--do_verify=1", "--fsync=16"),
        ]
    )
    return figures


def _controls(devices: BlockDevices) -> JsonObject:
    """What can be done to a volume while it runs."""
    one = ("--rw=randread", "--bs=4k", "--iodepth=1")
    bulk = ("--rw=randread", "--bs=1M", "--iodepth=16", f"--ramp_time={_SETTLE_S}s")
    figures: dict[str, JsonValue] = {}
    devices.ask("instance mib_s=80")
    both = [_started(_probe(devices, bulk, claim=claim)) for claim in ("first", "second")]
    figures["instance"] = [_result(process) for process in both]
    devices.ask("instance mib_s=0")
    devices.ask("modify all added_ms=20")
    figures["added"] = _run(_probe(devices, one, seconds=1))
    devices.ask("modify all added_ms=0")
    paused = _busy(devices, _probe(devices, one, seconds=2))
    time.sleep(0.5)
    devices.ask("pause all 1000")
    figures["paused"] = _result(paused)
    devices.ask(f"modify {devices.serials['first']} error_pct=100 errors_left=1")
    figures["failed"] = _run(_probe(devices, one, seconds=1))
    devices.ask(f"snapshot {devices.serials['second']}")  # and so it stays: nothing else is measured there
    whole = ("--rw=read", "--bs=512k", "--iodepth=1", "--size=32M", "--time_based=0")
    figures["first_touch"] = _run(_probe(devices, whole, claim="second"))
    figures["second_touch"] = _run(_probe(devices, whole, claim="second"))
    return figures


# --- the kernel's controls on it ------------------------------------------------------------------


@contextlib.contextmanager
def _two_cgroups() -> Iterator[tuple[Path, Path]]:
    (_CGROUP / "cgroup.subtree_control").write_text("+io")
    groups = (_CGROUP / "high", _CGROUP / "low")
    for group in groups:
        group.mkdir()
    try:
        yield groups
    finally:
        for group in groups:
            group.rmdir()


def _beside(devices: BlockDevices, high: Path, low: Path) -> JsonObject:
    """Measure bursts of small reads beside a bulk job."""
    bulk = _busy(devices, _probe(devices, _BULK, seconds=_SETTLE_S + _MEASURE_S + 1), low)
    time.sleep(_SETTLE_S)
    bursts = _result(_started(_probe(devices, _BURSTS), high))
    return {"high": bursts, "low": _result(bulk)}


def _protection(devices: BlockDevices) -> JsonObject:
    name = devices.names["first"]
    number = (Path("/sys/block") / name / "dev").read_text().strip()
    scheduler = Path("/sys/block") / name / "queue" / "scheduler"
    cost_qos, cost_model = _CGROUP / "io.cost.qos", _CGROUP / "io.cost.model"
    figures: dict[str, JsonValue] = {}
    with _two_cgroups() as (high, low):
        figures["alone"] = {"high": _result(_started(_probe(devices, _BURSTS), high))}
        figures["none"] = _beside(devices, high, low)
        (high / "io.weight").write_text("1000")
        (low / "io.weight").write_text("10")
        cost_model.write_text(f"{number} {_MODEL}")
        for vrate in (100, 60):
            cost_qos.write_text(f"{number} enable=1 ctrl=user rpct=0 wpct=0 min={vrate} max={vrate}")
            figures[f"iocost_{vrate}"] = _beside(devices, high, low)
        cost_qos.write_text(f"{number} {_OFF}")
        subprocess.run(["modprobe", "bfq"], check=True)
        scheduler.write_text("bfq")
        (high / "io.bfq.weight").write_text("1000")
        (low / "io.bfq.weight").write_text("10")
        figures["bfq"] = _beside(devices, high, low)
        scheduler.write_text("none")
        (low / "io.max").write_text(f"{number} rbps={15 << 20} wbps={15 << 20}")
        figures["io_max_30"] = _beside(devices, high, low)
    return figures


def _shares(devices: BlockDevices) -> JsonObject:
    """Two equal bulk jobs whose weights are three to one."""
    name = devices.names["first"]
    number = (Path("/sys/block") / name / "dev").read_text().strip()
    scheduler = Path("/sys/block") / name / "queue" / "scheduler"
    reads = ("--rw=randread", "--bs=64k", "--iodepth=32", f"--ramp_time={_SETTLE_S}s")
    figures: dict[str, JsonValue] = {}
    with _two_cgroups() as (high, low):
        for engine in ("iocost", "bfq"):
            if engine == "bfq":
                scheduler.write_text("bfq")
            else:
                (_CGROUP / "io.cost.model").write_text(f"{number} {_MODEL}")
                qos = f"{number} enable=1 ctrl=user rpct=0 wpct=0 min=100 max=100"
                (_CGROUP / "io.cost.qos").write_text(qos)
            knob = "io.bfq.weight" if engine == "bfq" else "io.weight"
            (high / knob).write_text("300")
            (low / knob).write_text("100")
            jobs = [_started(_probe(devices, reads), group) for group in (high, low)]
            figures[engine] = [_result(job) for job in jobs]
            (_CGROUP / "io.cost.qos").write_text(f"{number} {_OFF}")
            scheduler.write_text("none")
    return figures


if __name__ == "__main__":
    sys.exit(main())
