"""The controller's configuration file: model, defaults, parser and writer.

This module is light (no kernel access, no Kubernetes), because the Pulumi program builds the
ConfigMap with `dump` and the experiment asks it for the default classes.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar

import yaml

from drcio_controller.errors import ConfigError
from drcio_controller.instance import InstanceLimit, limit_of

PRIORITY_LABEL: Final = "drcio.io/priority"
LATENCY_TARGET_ANNOTATION: Final = "drcio.io/latency-target"
LATENCY_METRIC_ANNOTATION: Final = "drcio.io/latency-metric"
WEIGHT_ANNOTATION: Final = "drcio.io/weight"

WEIGHT_MIN: Final = 1
WEIGHT_MAX: Final = 10_000
KERNEL_DEFAULT_WEIGHT: Final = 100
"""What the kernel gives a cgroup that nobody touched; an unlabelled pod counts with it."""

MAX_FILE_BYTES: Final = 1_048_576
"""A ConfigMap cannot be larger, so neither can an honest file."""

_MIB: Final = 1_048_576
_E = TypeVar("_E", bound=StrEnum)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_TARGET = re.compile(
    r"p(?P<percentile>\d{1,2}(?:\.\d{1,4})?)\s{0,8}<\s{0,8}(?P<value>\d{1,7}(?:\.\d{1,6})?)\s{0,8}(?P<unit>ms|s)\Z",
    re.ASCII,
)
_IOMAX_POLICY = re.compile(r"iomax-(?P<percent>[1-9]\d?|100)\Z", re.ASCII)


class Engine(StrEnum):
    """What makes a weight act on a device."""

    AUTO = "auto"
    IOCOST = "iocost"
    BFQ = "bfq"
    IOMAX = "iomax"
    NONE = "none"
    """Write weights and nothing else, as agents do that leave the device as it is."""


class PolicyName(StrEnum):
    """The ways to drive a node; all but `drcio` exist to be compared with it."""

    DRCIO = "drcio"
    WEIGHT_ONLY = "weight-only"
    BFQ = "bfq"
    IOCOST_STATIC = "iocost-static"
    STEP = "step"
    IOMAX = "iomax"
    """Written `iomax-N`: low priority is capped at N percent of the volume."""


POLICY_CHOICES: Final = ", ".join(
    ["iomax-1 to iomax-100" if name is PolicyName.IOMAX else name.value for name in PolicyName]
)


def parse_policy(text: str) -> tuple[PolicyName, int]:
    """Return the policy that a text such as `drcio` or `iomax-25` names, and iomax's percentage (else 100).

    Raises:
        ConfigError: the text names no policy.
    """
    match = _IOMAX_POLICY.match(text)
    if match is not None:
        return PolicyName.IOMAX, int(match["percent"])
    if text not in set(PolicyName) - {PolicyName.IOMAX}:
        raise ConfigError(f"policy is {_shown(text)}; expected one of {POLICY_CHOICES}")
    return PolicyName(text), 100


@dataclass(frozen=True, kw_only=True)
class LatencyTarget:
    """An application's own aim, written `p95<100ms`."""

    percentile: float
    limit_s: float

    def render(self) -> str:
        """Return the target as it is written in a file or an annotation."""
        return f"p{self.percentile:g}<{self.limit_s * 1000:g}ms"


@dataclass(frozen=True, kw_only=True)
class PriorityClass:
    """What a value of the label `drcio.io/priority` means."""

    weight: int
    latency_target: LatencyTarget | None = None
    """Used for pods of the class that carry no annotation of their own."""


@dataclass(frozen=True, kw_only=True)
class VolumeProfile:
    """What a volume was provisioned with; the first profile that matches a device is used."""

    iops: int
    mib_s: float
    serial: str = "*"
    """Shell pattern on the device's serial; an EBS volume's is `vol` and its id without the dash."""
    name: str = "*"
    """Shell pattern on the kernel's name, as in `nvme1n1`."""

    @property
    def bytes_per_s(self) -> int:
        return round(self.mib_s * _MIB)

    def matches(self, *, name: str, serial: str, node_disk: bool = False) -> bool:
        """Return whether this profile is meant for a device.

        The disk that the node runs from is a volume with a serial like any other; only a profile that
        names it exactly, by serial or by name, means it.
        """
        exactly = self.name == name or (serial != "" and self.serial == serial)
        if node_disk and not exactly:
            return False
        return fnmatch.fnmatchcase(name, self.name) and fnmatch.fnmatchcase(serial, self.serial)


DEFAULT_CLASSES: Final[Mapping[str, PriorityClass]] = MappingProxyType(
    {
        "high": PriorityClass(weight=1000),
        "medium": PriorityClass(weight=100),
        "low": PriorityClass(weight=10),
    }
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything a node's administrator decides."""

    classes: Mapping[str, PriorityClass] = field(default_factory=lambda: DEFAULT_CLASSES)
    default_class: str = ""
    """Of a pod that carries no label and whose namespace carries none; empty leaves it alone."""
    policy: PolicyName = PolicyName.DRCIO
    iomax_percent: int = 100
    """Only for the policy `iomax-N`."""
    engine: Engine = Engine.AUTO
    interval_s: float = 0.5
    """Between two looks at the device; events act at once whatever this is."""
    idle_after_s: float = 2.2
    """Without I/O of the protected pods for this long, everybody else gets the device's full speed."""
    instance: InstanceLimit | None = None
    """What the node's EBS volumes can do together; None looks it up by the node's instance type."""
    floor_percent: float = 10.0
    """Low priority is never held below this share of the device's known capacity."""
    volumes: tuple[VolumeProfile, ...] = ()

    @property
    def policy_text(self) -> str:
        """Return the policy as it is written in the file."""
        return f"iomax-{self.iomax_percent}" if self.policy is PolicyName.IOMAX else self.policy.value


def parse_latency_target(text: str) -> LatencyTarget:
    """Parse `p95<100ms` or `p99.9 < 1.5s`.

    Raises:
        ConfigError: the text is of another form or names no possible percentile.
    """
    match = _TARGET.match(text.strip())
    percentile = float(match["percentile"]) if match else 0.0
    limit_s = float(match["value"]) / (1000 if match["unit"] == "ms" else 1) if match else 0.0
    if match is None or percentile <= 0 or limit_s <= 0:
        raise ConfigError(
            f"latency target is {text[:60]!r}; expected a form such as p95<100ms",
            hint="write a percentile between p1 and p99.9, '<', and a time in ms or s",
        )
    return LatencyTarget(percentile=percentile, limit_s=limit_s)


def parse(text: str) -> Config:
    """Parse a configuration file; an absent key keeps its default.

    Raises:
        ConfigError: the file is empty, too large, not YAML, or a value is out of its range.
    """
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError(f"configuration is {len(text)} characters long; expected at most {MAX_FILE_BYTES}")
    try:
        document: object = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: PyYAML lets an impossible timestamp such as 2024-99-99 escape as one.
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"configuration is not YAML: {first_line[:200]}", hint="check it with any YAML linter"
        ) from error
    if document is None:
        raise ConfigError("configuration is empty", hint="write at least `policy: drcio`")
    top = _mapping(document, "configuration")
    known = {item.name for item in fields(Config)} - {"iomax_percent"}
    _refuse_unknown(top, known, "configuration")
    values = Config()
    policy, percent = parse_policy(_text(top.get("policy", values.policy_text), "policy"))
    classes = _classes(top["classes"]) if "classes" in top else values.classes
    return Config(
        classes=classes,
        default_class=_default_class(top.get("default_class", values.default_class), classes),
        policy=policy,
        iomax_percent=percent,
        engine=_choice(top.get("engine", values.engine.value), Engine, "engine"),
        interval_s=_number(top.get("interval_s", values.interval_s), "interval_s", 0.05, 60),
        idle_after_s=_number(top.get("idle_after_s", values.idle_after_s), "idle_after_s", 0.1, 600),
        floor_percent=_number(top.get("floor_percent", values.floor_percent), "floor_percent", 1, 100),
        volumes=_volumes(top["volumes"]) if "volumes" in top else values.volumes,
        instance=None if top.get("instance") is None else _instance(top["instance"]),
    )


def dump(config: Config) -> str:
    """Return a file that `parse` reads back as the same configuration."""
    classes = {
        name: {
            "weight": entry.weight,
            **({"latency_target": entry.latency_target.render()} if entry.latency_target else {}),
        }
        for name, entry in config.classes.items()
    }
    volumes = [
        {item.name: getattr(volume, item.name) for item in fields(volume)} for volume in config.volumes
    ]
    document = {
        "policy": config.policy_text,
        "engine": config.engine.value,
        "interval_s": config.interval_s,
        "idle_after_s": config.idle_after_s,
        "floor_percent": config.floor_percent,
        "classes": classes,
        "default_class": config.default_class,
        "volumes": volumes,
        **({} if config.instance is None else {"instance": _dump_instance(config.instance)}),
    }
    return str(yaml.safe_dump(document, sort_keys=False))


def digest(config: Config) -> str:
    """Return twelve hex digits that two configurations share exactly when they mean the same."""
    meaning = json.dumps(yaml.safe_load(dump(config)), sort_keys=True)
    return hashlib.sha256(meaning.encode()).hexdigest()[:12]


_REPR: Final = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80
_REPR.maxlevel = 2


def _shown(value: object) -> str:
    """Return what was found, in short: by its aliases a file of a kilobyte can stand for a gigabyte."""
    try:
        return _REPR.repr(value)[:200]
    except ValueError:  # more digits than Python writes out
        return f"a very long {type(value).__name__}"


def _mapping(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} is a {type(value).__name__}; expected a mapping of keys to values")
    for key in value:
        if not isinstance(key, str):
            raise ConfigError(f"{where} has the key {_shown(key)}; expected text")
    return value


def _refuse_unknown(values: Mapping[str, object], known: set[str], where: str) -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(
            f"{where} has an unknown key {_shown(unknown[0])}", hint=f"known: {', '.join(sorted(known))}"
        )


def _number(value: object, where: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"{where} is {_shown(value)}; expected a number from {low:g} to {high:g}")
    return float(value)


def _integer(value: object, where: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"{where} is {_shown(value)}; expected a whole number from {low} to {high}")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{where} is {_shown(value)}; expected text")
    return value


def _choice(value: object, kind: type[_E], where: str) -> _E:
    try:
        return kind(_text(value, where))
    except ValueError:
        raise ConfigError(f"{where} is {_shown(value)}; expected one of {', '.join(kind)}") from None


def _classes(value: object) -> Mapping[str, PriorityClass]:
    classes = {}
    for name, entry in _mapping(value, "classes").items():
        where = f"classes.{name[:63]}"
        if _NAME.match(name) is None:
            raise ConfigError(f"{where}: expected a name of lower-case letters, digits and '-'")
        if isinstance(entry, int):
            entry = {"weight": entry}
        entry = _mapping(entry, where)
        _refuse_unknown(entry, {"weight", "latency_target"}, where)
        target = entry.get("latency_target")
        classes[name] = PriorityClass(
            weight=_integer(entry.get("weight"), f"{where}.weight", WEIGHT_MIN, WEIGHT_MAX),
            latency_target=(
                None if target is None else parse_latency_target(_text(target, f"{where}.latency_target"))
            ),
        )
    if not classes:
        raise ConfigError("classes is empty; expected at least one class")
    return MappingProxyType(classes)


def _default_class(value: object, classes: Mapping[str, PriorityClass]) -> str:
    name = _text(value, "default_class")
    if name and name not in classes:
        raise ConfigError(
            f"default_class is {name[:63]!r}; expected one of {', '.join(classes)[:200]}, or empty"
        )
    return name


def _volumes(value: object) -> tuple[VolumeProfile, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"volumes is a {type(value).__name__}; expected a list")
    volumes = []
    for index, entry in enumerate(value):
        where = f"volumes[{index}]"
        item = _mapping(entry, where)
        _refuse_unknown(item, {"iops", "mib_s", "serial", "name"}, where)
        volumes.append(
            VolumeProfile(
                iops=_integer(item.get("iops"), f"{where}.iops", 1, 10_000_000),
                mib_s=_number(item.get("mib_s"), f"{where}.mib_s", 0.1, 1_000_000),
                serial=_text(item.get("serial", "*"), f"{where}.serial"),
                name=_text(item.get("name", "*"), f"{where}.name"),
            )
        )
    return tuple(volumes)


def _instance(value: object) -> InstanceLimit:
    """Parse an instance type by name, or its figures; what it can burst to is its baseline by default."""
    if isinstance(value, str):
        limit = limit_of(value)
        if limit is None:
            raise ConfigError(
                f"instance is {value[:40]!r}; expected a type of the table, or its figures",
                hint="write {mib_s, iops} and, if it bursts, burst_mib_s and burst_iops",
            )
        return limit
    item = _mapping(value, "instance")
    _refuse_unknown(item, {"type", "mib_s", "iops", "burst_mib_s", "burst_iops"}, "instance")
    mib_s = _number(item.get("mib_s"), "instance.mib_s", 0.1, 1_000_000)
    iops = _number(item.get("iops"), "instance.iops", 1, 100_000_000)
    return InstanceLimit(
        type=_text(item.get("type", ""), "instance.type"),
        baseline_bytes_per_s=mib_s * _MIB,
        baseline_iops=iops,
        burst_bytes_per_s=_number(item.get("burst_mib_s", mib_s), "instance.burst_mib_s", mib_s, 1_000_000)
        * _MIB,
        burst_iops=_number(item.get("burst_iops", iops), "instance.burst_iops", iops, 100_000_000),
    )


def _dump_instance(limit: InstanceLimit) -> dict[str, str | float]:
    return {
        "type": limit.type,
        "mib_s": limit.baseline_bytes_per_s / _MIB,
        "iops": float(limit.baseline_iops),
        "burst_mib_s": limit.burst_bytes_per_s / _MIB,
        "burst_iops": float(limit.burst_iops),
    }
