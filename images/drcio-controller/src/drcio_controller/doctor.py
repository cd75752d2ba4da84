"""Check a node: what is there, what acts, and what the controller would do about it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from drcio_controller.cgroupfs.files import read_text
from drcio_controller.cgroupfs.parse import DeviceId, parse_controllers, parse_settings
from drcio_controller.config import Config
from drcio_controller.devices import Device, describe
from drcio_controller.engines.choose import choose
from drcio_controller.errors import KernelFileError, Vanished
from drcio_controller.knob import Roots
from drcio_controller.mapping import Hierarchy, find_hierarchy
from drcio_controller.policies.registry import engine_of


class Grade(StrEnum):
    """How a check came out."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding."""

    grade: Grade
    subject: str
    finding: str
    hint: str = ""


_MARKS: Final = {Grade.GOOD: "ok  ", Grade.NOTE: "note", Grade.BAD: "BAD "}
_IGNORED_PREFIXES: Final = ("loop", "ram", "zram", "sr", "fd", "nbd")


def examine(roots: Roots, config: Config) -> list[Check]:
    """Return every finding, the fundamental ones first; never raises for a kernel file."""
    controllers = _controllers(roots.cgroup / "cgroup.controllers")
    if controllers is None:
        return [
            Check(
                grade=Grade.BAD,
                subject="cgroup v2",
                finding=f"{roots.cgroup} is not a cgroup v2 root",
                hint="boot with cgroup v2, or point --cgroup-root at the host's tree",
            )
        ]
    checks = [Check(grade=Grade.GOOD, subject="cgroup v2", finding=f"mounted at {roots.cgroup}")]
    if "io" not in controllers:
        return [
            *checks,
            Check(
                grade=Grade.BAD,
                subject="io controller",
                finding="the kernel does not offer it",
                hint="CONFIG_BLK_CGROUP is needed; every weight is inert without it",
            ),
        ]
    hierarchy = find_hierarchy(lambda path: (roots.cgroup / path).is_dir())
    return [
        *checks,
        *_levels(roots, hierarchy),
        _iocost(roots),
        _pressure(roots),
        *(_device(roots, device, config) for device in _disks(roots)),
    ]


def render(checks: Sequence[Check]) -> str:
    """Return the findings for people."""
    width = max(len(check.subject) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{_MARKS[check.grade]}  {check.subject:<{width}}  {check.finding}")
        if check.hint:
            lines.append(f"      {'':<{width}}  hint: {check.hint}")
    return "\n".join(lines)


def to_json(checks: Sequence[Check]) -> str:
    """Return the findings for machines."""
    return json.dumps([dataclasses.asdict(check) for check in checks], indent=2)


def exit_status(checks: Sequence[Check]) -> int:
    """Return 1 if something stands in the way."""
    return int(any(check.grade is Grade.BAD for check in checks))


def _controllers(path: Path) -> frozenset[str] | None:
    try:
        return parse_controllers(read_text(path))
    except KernelFileError:
        return None


def _levels(roots: Roots, hierarchy: Hierarchy | None) -> list[Check]:
    if hierarchy is None:
        return [
            Check(grade=Grade.NOTE, subject="pods", finding="no kubepods cgroup: no pod has run here yet")
        ]
    checks = [
        Check(
            grade=Grade.GOOD,
            subject="pods",
            finding=f"{hierarchy.kubepods}, cgroup driver {hierarchy.driver}",
        )
    ]
    for level in hierarchy.levels:
        enabled = _controllers(roots.cgroup / level / "cgroup.subtree_control")
        name = level or "/"
        if enabled is None:
            checks.append(Check(grade=Grade.NOTE, subject="io below", finding=f"{name}: not there"))
        elif "io" in enabled:
            checks.append(Check(grade=Grade.GOOD, subject="io below", finding=name))
        else:
            checks.append(
                Check(
                    grade=Grade.NOTE,
                    subject="io below",
                    finding=f"{name}: off; the controller would turn it on",
                )
            )
    return checks


def _iocost(roots: Roots) -> Check:
    try:
        settings = parse_settings(read_text(roots.cgroup / "io.cost.qos"), "io.cost.qos")
    except Vanished:
        return Check(
            grade=Grade.NOTE,
            subject="iocost",
            finding="the kernel does not have it",
            hint="CONFIG_BLK_CGROUP_IOCOST is needed; BFQ or io.max would be used instead",
        )
    except KernelFileError as error:
        return Check(grade=Grade.BAD, subject="iocost", finding=str(error))
    on = [device for device, values in settings.items() if values.get("enable") == "1"]
    if on:
        return Check(grade=Grade.GOOD, subject="iocost", finding=f"on for {', '.join(on)}")
    return Check(
        grade=Grade.NOTE,
        subject="iocost",
        finding="off everywhere: io.weight changes nothing now; the controller would turn it on",
    )


def _pressure(roots: Roots) -> Check:
    if (roots.cgroup / "io.pressure").exists():
        return Check(grade=Grade.GOOD, subject="pressure", finding="stall times are measured (PSI)")
    return Check(
        grade=Grade.NOTE,
        subject="pressure",
        finding="no stall times: the kernel runs without PSI",
        hint="boot with psi=1; the controller works without it and reports less",
    )


def _disks(roots: Roots) -> list[DeviceId]:
    block = roots.sys / "block"
    if not block.is_dir():
        return []
    names = sorted(entry.name for entry in block.iterdir() if not entry.name.startswith(_IGNORED_PREFIXES))
    devices = []
    for name in names:
        try:
            devices.append(DeviceId(read_text(block / name / "dev").strip()))
        except KernelFileError:
            continue
    return devices


def _device(roots: Roots, device_id: DeviceId, config: Config) -> Check:
    try:
        device = describe(roots.sys, device_id)
    except KernelFileError as error:
        return Check(grade=Grade.NOTE, subject=f"disk {device_id}", finding=str(error))
    engine, note = choose(engine_of(config), device, ())
    return Check(
        grade=Grade.GOOD,
        subject=f"disk {device.name}",
        finding=f"{_describe(device, config)}; would use {engine}" + (f" ({note})" if note else ""),
    )


def _describe(device: Device, config: Config) -> str:
    profile, source = device.profile(config.volumes)
    words = [f"{device.id}, scheduler {device.scheduler or 'n/a'}"]
    if device.serial:
        words.append(f"serial {device.serial}")
    if device.is_ebs:
        words.append("EBS volume")
    words.append(f"{profile.iops} IOPS and {profile.mib_s:g} MiB/s ({source})")
    return ", ".join(words)
