"""Check a node: what is there, what acts, and what the controller would do about it."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from drcio_controller.config import Config, Engine
from drcio_controller.engines.choose import choose
from drcio_controller.errors import KernelFileError, NodeError, Vanished
from drcio_controller.kernel.devices import Device, describe, node_disks
from drcio_controller.kernel.files import read_text
from drcio_controller.kernel.knob import Roots
from drcio_controller.kernel.parse import DeviceId, parse_controllers, parse_settings
from drcio_controller.law.registry import engine_of
from drcio_controller.pods.mapping import Hierarchy, find_hierarchy
from drcio_controller.standby import REMEDIES, NodeLock, Standby, cgroup_standby, offers_io
from drcio_controller.status.model import Effect
from drcio_controller.status.table import objects, plain, texts


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


STALLED_AFTER_S: Final = 30.0
"""An agent that has not looked for so long does not look any more."""

_MARKS: Final = {Grade.GOOD: "ok  ", Grade.NOTE: "note", Grade.BAD: "BAD "}
_IGNORED_PREFIXES: Final = ("loop", "ram", "zram", "sr", "fd", "nbd")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAnswer:
    """What the node's agent reported of itself, or that it did not answer."""

    status: Mapping[str, object] | None = None
    error: str = ""
    expected: bool = False
    """There should be one: this is its own container, or somebody named its address."""


def examine(
    roots: Roots,
    config: Config,
    *,
    config_error: str = "",
    state_dir: Path | None = None,
    agent: AgentAnswer | None = None,
    mountinfo: str = "",
) -> list[Check]:
    """Return every finding, the fundamental ones first; never raises for a kernel file."""
    answer = agent or AgentAnswer()
    about_agent = _agent(roots, answer) if agent is not None else []
    settings = [*_config(config_error), *_state_dir(state_dir, expected=answer.expected)]
    try:
        standby = cgroup_standby(roots.cgroup)
    except NodeError as error:
        return [_bad("cgroup v2", str(error), error.hint or ""), *settings, *about_agent]
    if standby is not None:
        return [_bad("cgroup v2", *REMEDIES[standby]), *settings, *about_agent]
    checks = [_good("cgroup v2", f"mounted at {roots.cgroup}")]
    if not offers_io(roots.cgroup):
        _, remedy = REMEDIES[Standby.NO_IO]
        return [
            *checks,
            _bad("io controller", "the kernel does not offer it", remedy),
            *settings,
            *about_agent,
        ]
    own_disks = node_disks(roots.sys, mountinfo)
    hierarchy = find_hierarchy(lambda path: (roots.cgroup / path).is_dir())
    return [
        *checks,
        *_writable(roots, config),
        *_levels(roots, hierarchy),
        _iocost(roots),
        _pressure(roots),
        *(_device(roots, device, config, own_disks) for device in _disks(roots)),
        *settings,
        *about_agent,
    ]


def render(checks: Sequence[Check]) -> str:
    """Return the findings for people."""
    width = max(len(check.subject) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{_MARKS[check.grade]}  {check.subject:<{width}}  {check.finding}")
        if check.hint:
            lines.append(f"      {'':<{width}}  hint: {check.hint}")
    return "\n".join(map(plain, lines))


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


def _good(subject: str, finding: str) -> Check:
    return Check(grade=Grade.GOOD, subject=subject, finding=finding)


def _note(subject: str, finding: str, hint: str = "") -> Check:
    return Check(grade=Grade.NOTE, subject=subject, finding=finding, hint=hint)


def _bad(subject: str, finding: str, hint: str = "") -> Check:
    return Check(grade=Grade.BAD, subject=subject, finding=finding, hint=hint)


def _config(error: str) -> list[Check]:
    if not error:
        return []
    return [_bad("configuration", error, "the agent goes on with the last good one, or its defaults")]


def _state_dir(folder: Path | None, *, expected: bool) -> list[Check]:
    """Check that what was found can be noted before it is changed."""
    if folder is None or not (expected or folder.exists()):
        return []
    if folder.is_dir() and os.access(folder, os.W_OK):
        return [_good("state", f"{folder} can be written")]
    hint = "mount a writable tmpfs of the node there: without it a killed agent leaves its changes behind"
    return [_bad("state", f"{folder} cannot be written", hint)]


def _writable(roots: Roots, config: Config) -> list[Check]:
    """Check that what the agent would write is there, and writable at all."""
    checks = []
    if _read_only(roots.cgroup / "cgroup.subtree_control"):
        hint = "mount the host's /sys/fs/cgroup read-write; no capability is needed for it"
        checks.append(_bad("cgroup v2", f"{roots.cgroup} is read-only: no weight can be written", hint))
    if not (roots.sys / "block").is_dir():
        hint = "mount the host's /sys there, or name where it is by --sys-root"
        checks.append(_bad("sysfs", f"{roots.sys} is no sysfs: it has no folder block", hint))
    elif engine_of(config) is Engine.BFQ and _read_only(roots.sys / "block"):
        hint = "mount the host's /sys read-write, as the pod template does for the policy bfq"
        checks.append(_bad("sysfs", f"{roots.sys} is read-only: no scheduler can be switched", hint))
    return checks


def _read_only(path: Path) -> bool:
    try:
        return not os.access(path, os.W_OK) or bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return True


def _agent(roots: Roots, answer: AgentAnswer) -> list[Check]:
    """Return what is wrong by the agent's own account."""
    status = answer.status
    if status is None:
        if answer.expected:
            hint = "see its log; what it last set stays in force and follows the load no more"
            return [_bad("agent", f"does not answer: {answer.error}", hint)]
        if NodeLock(roots.cgroup).held_by_somebody():
            return [_note("agent", "one steers this node, elsewhere")]
        return [_note("agent", "none runs here")]
    checks = []
    if status.get("standby"):
        checks.append(_bad("agent", f"passive: {status.get('standby')}"))
    elif not status.get("synced"):
        hint = "is the API server reachable, and may the service account list pods?"
        checks.append(_bad("agent", "does not know the node's pods yet", hint))
    at_unix_s = status.get("at_unix_s")
    if isinstance(at_unix_s, int | float) and at_unix_s and time.time() - at_unix_s > STALLED_AFTER_S:
        checks.append(_bad("agent", f"its last look was {time.time() - at_unix_s:.0f} s ago"))
    if status.get("config_error"):
        checks += _config(str(status.get("config_error")))
    checks += [_bad("agent", problem) for problem in texts(status, "problems")]
    checks += [
        _note(
            f"disk {device.get('name')}", f"control is withdrawn, it did not help: {device.get('withdrawn')}"
        )
        for device in objects(status, "devices")
        if device.get("withdrawn")
    ]
    for pod in objects(status, "pods"):
        name = f"pod {pod.get('namespace')}/{pod.get('name')}"
        checks += [_note(name, problem) for problem in texts(pod, "problems")]
        checks += [
            _bad(name, f"its weight is inert on {entry.get('device')}: {entry.get('why')}")
            for entry in objects(pod, "devices")
            if entry.get("effect") == Effect.INERT
        ]
    if not checks:
        checks.append(_good("agent", "answers, and everything holds"))
    return checks


def _levels(roots: Roots, hierarchy: Hierarchy | None) -> list[Check]:
    if hierarchy is None:
        return [_note("pods", "no kubepods cgroup: no pod has run here yet")]
    checks = [_good("pods", f"{hierarchy.kubepods}, cgroup driver {hierarchy.driver}")]
    for level in hierarchy.levels:
        enabled = _controllers(roots.cgroup / level / "cgroup.subtree_control")
        name = level or "/"
        if enabled is None:
            checks.append(_note("io below", f"{name}: not there"))
        elif "io" in enabled:
            checks.append(_good("io below", name))
        else:
            finding = f"{name}: off; the controller would turn it on"
            checks.append(_note("io below", finding))
    return checks


def _iocost(roots: Roots) -> Check:
    try:
        settings = parse_settings(read_text(roots.cgroup / "io.cost.qos"), "io.cost.qos")
    except Vanished:
        return _note(
            "iocost",
            "the kernel does not have it",
            "CONFIG_BLK_CGROUP_IOCOST is needed; BFQ or io.max would be used instead",
        )
    except KernelFileError as error:
        return _bad("iocost", str(error))
    on = [device for device, values in settings.items() if values.get("enable") == "1"]
    if on:
        return _good("iocost", f"on for {', '.join(on)}")
    return _note("iocost", "off everywhere: io.weight changes nothing now; the controller would turn it on")


def _pressure(roots: Roots) -> Check:
    if (roots.cgroup / "io.pressure").exists():
        return _good("pressure", "stall times are measured (PSI)")
    return _note(
        "pressure",
        "no stall times: the kernel runs without PSI",
        "boot with psi=1; the controller works without it and reports less",
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


def _device(roots: Roots, device_id: DeviceId, config: Config, own_disks: Collection[DeviceId]) -> Check:
    try:
        device = describe(roots.sys, device_id, own_disks)
    except KernelFileError as error:
        return _note(f"disk {device_id}", str(error))
    engine, note = choose(engine_of(config), device, ())
    return _good(
        f"disk {device.name}",
        f"{_describe(device, config)}; would use {engine}" + (f" ({note})" if note else ""),
    )


def _describe(device: Device, config: Config) -> str:
    profile, source = device.profile(config.volumes)
    words = [f"{device.id}, scheduler {device.scheduler or 'n/a'}"]
    if device.serial:
        words.append(f"serial {device.serial}")
    if device.is_ebs:
        words.append("EBS volume")
    if device.node_disk:
        words.append("the node runs from it")
    words.append(f"{profile.iops} IOPS and {profile.mib_s:g} MiB/s ({source})")
    return ", ".join(words)
