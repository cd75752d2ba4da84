"""Parse the text of cgroup v2 I/O files.

Formats: Documentation/admin-guide/cgroup-v2.rst and Documentation/accounting/psi.rst of the kernel.
A documented value that does not parse is `Malformed`; a key this program does not know is ignored,
because kernels add keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NewType

from drcio_controller.errors import Malformed

DeviceId = NewType("DeviceId", str)
"""A block device as the kernel's cgroup files write it: `MAJ:MIN`."""

UNLIMITED: Final = None
"""What `max` in a limit file means here."""

_DEVICE = re.compile(r"\d{1,4}:\d{1,7}\Z", re.ASCII)
_UNSIGNED = re.compile(r"\d{1,20}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class IoStat:
    """One device's line of `io.stat`; counters are cumulative."""

    rbytes: int = 0
    wbytes: int = 0
    rios: int = 0
    wios: int = 0
    cost_usage_us: int | None = None
    """iocost: device time this cgroup used by the cost model; None where iocost is off."""

    def plus(self, other: IoStat) -> IoStat:
        """Return the sum of two cgroups' counters."""
        return IoStat(
            rbytes=self.rbytes + other.rbytes,
            wbytes=self.wbytes + other.wbytes,
            rios=self.rios + other.rios,
            wios=self.wios + other.wios,
            cost_usage_us=_sum(self.cost_usage_us, other.cost_usage_us),
        )

    @property
    def total_bytes(self) -> int:
        return self.rbytes + self.wbytes

    @property
    def total_ios(self) -> int:
        return self.rios + self.wios


@dataclass(frozen=True, slots=True)
class Pressure:
    """Cumulative stall times of a `*.pressure` file, in microseconds."""

    some_us: int
    full_us: int


@dataclass(frozen=True, slots=True)
class Weights:
    """`io.weight` or `io.bfq.weight`: the default and the per-device exceptions."""

    default: int
    per_device: Mapping[DeviceId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """One device's line of `io.max`; None is `max`."""

    rbps: int | None = UNLIMITED
    wbps: int | None = UNLIMITED
    riops: int | None = UNLIMITED
    wiops: int | None = UNLIMITED

    def render(self) -> str:
        """Return the assignments as the kernel takes them, without the device."""
        values = {"rbps": self.rbps, "wbps": self.wbps, "riops": self.riops, "wiops": self.wiops}
        return " ".join(f"{key}={'max' if value is None else value}" for key, value in values.items())


@dataclass(frozen=True, slots=True)
class BlockStat:
    """`/sys/block/*/stat` (Documentation/block/stat.rst); times in milliseconds, counters cumulative."""

    reads: int
    read_sectors: int
    read_ticks_ms: int
    writes: int
    write_sectors: int
    write_ticks_ms: int
    in_flight: int
    io_ticks_ms: int
    queue_ticks_ms: int

    @property
    def ios(self) -> int:
        return self.reads + self.writes

    @property
    def ticks_ms(self) -> int:
        """Return the sum over completed requests of their time in the device."""
        return self.read_ticks_ms + self.write_ticks_ms

    @property
    def total_bytes(self) -> int:
        return (self.read_sectors + self.write_sectors) * 512


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


def parse_device(text: str, source: str) -> DeviceId:
    """Return `text` as a device id, or raise `Malformed`."""
    if _DEVICE.match(text) is None:
        raise Malformed(f"{source}: expected MAJ:MIN, found {text[:40]!r}")
    return DeviceId(text)


def parse_unsigned(text: str, source: str) -> int:
    """Return `text` as a non-negative integer, or raise `Malformed`."""
    if _UNSIGNED.match(text) is None:
        raise Malformed(f"{source}: expected an unsigned integer, found {text[:40]!r}")
    return int(text)


def _assignments(words: list[str], source: str) -> dict[str, str]:
    values = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator:
            raise Malformed(f"{source}: expected KEY=VALUE, found {word[:40]!r}")
        values[key] = value
    return values


_IO_STAT_COUNTERS: Final = ("rbytes", "wbytes", "rios", "wios")
_USUAL_IO_STAT: Final = re.compile(
    r"([0-9]{1,4}:[0-9]{1,7})"
    + "".join(rf" {key}=([0-9]{{1,20}})" for key in _IO_STAT_COUNTERS)
    + r" dbytes=[0-9]{1,20} dios=[0-9]{1,20}(?: cost\.usage=([0-9]{1,20}))?",
    re.ASCII,
)
"""A pod's line as kernels write it nearly always: one match of it costs a fifth of taking it apart."""


def parse_io_stat(text: str) -> dict[DeviceId, IoStat]:
    """Parse `io.stat`; a device that the kernel lists without counters is left out.

    The kernel merges several device names into one line when a line stays empty, so every word
    that is a device number starts a new device.
    """
    result: dict[DeviceId, IoStat] = {}
    for line in text.splitlines():
        usual = _USUAL_IO_STAT.fullmatch(line)
        if usual is not None:
            device, *counts, usage = usual.groups()
            usage_us = None if usage is None else int(usage)
            rbytes, wbytes, rios, wios = map(int, counts)
            result[DeviceId(device)] = IoStat(rbytes, wbytes, rios, wios, usage_us)
            continue
        words = line.split()
        start = next((index for index, word in enumerate(words) if "=" in word), None)
        if not words:
            continue
        for word in words[:start]:
            if word != "(unknown)":
                parse_device(word, "io.stat")
        if start is None:
            continue
        if start == 0:
            raise Malformed(f"io.stat: a line without a device: {line[:60]!r}")
        device_word = words[start - 1]
        if device_word == "(unknown)":
            continue
        values = _assignments(words[start:], "io.stat")
        rbytes, wbytes, rios, wios = (
            parse_unsigned(values.get(key, "0"), f"io.stat {key}") for key in _IO_STAT_COUNTERS
        )
        usage = values.get("cost.usage")
        usage_us = None if usage is None else parse_unsigned(usage, "io.stat cost.usage")
        result[DeviceId(device_word)] = IoStat(rbytes, wbytes, rios, wios, usage_us)
    return result


_AVERAGES: Final = "".join(rf" avg{seconds}=[0-9.]{{4,6}}" for seconds in (10, 60, 300))
_USUAL_PRESSURE: Final = re.compile(
    rf"some{_AVERAGES} total=([0-9]{{1,20}})\nfull{_AVERAGES} total=([0-9]{{1,20}})\n", re.ASCII
)


def parse_pressure(text: str) -> Pressure:
    """Parse a `*.pressure` file; `full` is missing from the root's cpu.pressure on old kernels."""
    usual = _USUAL_PRESSURE.fullmatch(text)
    if usual is not None:
        return Pressure(some_us=int(usual[1]), full_us=int(usual[2]))
    totals = {"full": 0}
    for line in text.splitlines():
        kind, *rest = line.split() or [""]
        if kind in ("some", "full"):
            values = _assignments(rest, "pressure")
            if "total" not in values:
                raise Malformed(f"pressure: no total in {line[:60]!r}")
            totals[kind] = parse_unsigned(values["total"], f"pressure {kind} total")
    if "some" not in totals:
        raise Malformed(f"pressure: no 'some' line in {text[:60]!r}")
    return Pressure(some_us=totals["some"], full_us=totals["full"])


def parse_weights(text: str) -> Weights:
    """Parse `io.weight`, or `io.bfq.weight`, which some kernels show as a bare number."""
    default: int | None = None
    per_device: dict[DeviceId, int] = {}
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if len(words) == 1 and default is None:
            key, value_text = "default", words[0]
        elif len(words) == 2:
            key, value_text = words
        else:
            raise Malformed(f"weight: expected 'default N' or 'MAJ:MIN N', found {line[:60]!r}")
        value = parse_unsigned(value_text, "weight")
        if not 1 <= value <= 10_000:
            raise Malformed(f"weight: expected 1 to 10000, found {value}")
        if key == "default":
            default = value
        else:
            per_device[parse_device(key, "weight")] = value
    if default is None:
        raise Malformed("weight: no default")
    return Weights(default, per_device)


def parse_io_max(text: str) -> dict[DeviceId, Limits]:
    """Parse `io.max`; a key that is missing is unlimited."""
    result = {}
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        device = parse_device(words[0], "io.max")
        values = _assignments(words[1:], "io.max")
        limits = {
            key: None if values[key] == "max" else parse_unsigned(values[key], f"io.max {key}")
            for key in ("rbps", "wbps", "riops", "wiops")
            if key in values
        }
        result[device] = Limits(**limits)
    return result


def parse_settings(text: str, source: str) -> dict[DeviceId, dict[str, str]]:
    """Parse `io.cost.qos` or `io.cost.model` into one KEY=VALUE mapping per device."""
    result = {}
    for line in text.splitlines():
        words = line.split()
        if words:
            result[parse_device(words[0], source)] = _assignments(words[1:], source)
    return result


def parse_controllers(text: str) -> frozenset[str]:
    """Parse `cgroup.controllers` or `cgroup.subtree_control`."""
    return frozenset(text.split())


def parse_block_stat(text: str) -> BlockStat:
    """Parse `/sys/block/*/stat`: at least eleven columns, kernels append more."""
    words = text.split()
    if len(words) < 11:
        raise Malformed(f"block stat: expected at least 11 columns, found {len(words)}")
    numbers = [parse_unsigned(word, "block stat") for word in words[:11]]
    return BlockStat(
        reads=numbers[0],
        read_sectors=numbers[2],
        read_ticks_ms=numbers[3],
        writes=numbers[4],
        write_sectors=numbers[6],
        write_ticks_ms=numbers[7],
        in_flight=numbers[8],
        io_ticks_ms=numbers[9],
        queue_ticks_ms=numbers[10],
    )
