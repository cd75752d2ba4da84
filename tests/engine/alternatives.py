"""Another legal value for every key of `stacks/configuration/settings.py`, found from its declaration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from stacks.configuration.config import parse
from stacks.configuration.keys import NAMESPACE, Key, keys_of
from stacks.configuration.settings import Settings
from stacks.errors import ConfigError
from stacks.preview.dryrun import stack_config

Value = str | int | bool

OTHER_DIGEST: Final = f"registry.example/another@sha256:{'1' * 64}"
TEXTS: Final[Mapping[str, str]] = {
    "platformStack": "organization/drcio-eks/another",
    "kubeContext": "another",
    "namespace": "elsewhere",
    "controller.policy": "weight-only",
    "controller.targets": "p95<100ms",
    "controller.volumes": "vol*=gp3:6000:250",
    "cluster.name": "drcio-other",
    "cluster.version": "1.36",
    "cluster.instanceTypes": "m6i.2xlarge",
    "cluster.publicAccessCidrs": "192.0.2.0/24",
    "network.cidr": "10.1.0.0/16",
    "storage.className": "another",
    # All but the load generator's, which no pod names.
    "images.build": "controller,hp-service,lp-batch,experiment",
    "images.registry": "registry.example/drcio",
    "images.controller": OTHER_DIGEST,
    "images.hpService": OTHER_DIGEST,
    "images.lpBatch": OTHER_DIGEST,
    "images.loadGenerator": OTHER_DIGEST,
    "images.experiment": OTHER_DIGEST,
    "monitoring.chartVersion": "92.0.1",
    "monitoring.runbooks": "https://pages.example/runbooks",
    "batch.blockSize": "4KiB",
    "batch.fileSize": "1GiB",
    "service.cpu": "2",
    "service.memory": "3Gi",
    "service.priority": "medium",
    "experiment.run": "again",
}
"""Texts that have a grammar of their own; everything else follows from choices, minimum and maximum."""


def settings_of(folder: Path, stack: str, overrides: Mapping[str, Value] | None = None) -> Settings:
    """Return what a stack's file in a folder comes to, with keys such as `storage.iops` laid over it."""
    given = {f"{NAMESPACE}:{path}": _text(value) for path, value in (overrides or {}).items()}
    config = stack_config(folder, stack, given)
    own = {key: text for key, text in config.items() if key.startswith(f"{NAMESPACE}:")}
    return parse(
        {key.removeprefix(f"{NAMESPACE}:"): text for key, text in own.items()},
        stack=stack,
        region=config.get("aws:region", "us-east-1"),
    )


def alternative(key: Key, folder: Path, stack: str) -> tuple[str, Value]:
    """Return the path to set and another value than the stack has, the first that is legal beside the others.

    Where none is, the first is returned: its refusal is what a user sees.

    Raises:
        LookupError: a text has a grammar and no entry in TEXTS.
    """
    now = settings_of(folder, stack)
    refused: list[tuple[str, Value]] = []
    for path, value in candidates(key, current(now, key)):
        try:
            other = settings_of(folder, stack, {path: value})
        except ConfigError:
            refused.append((path, value))
            continue
        if current(other, key) != current(now, key):
            return path, value
    if not refused:
        raise LookupError(f"{key.full_name}: no other value found; add one to TEXTS")
    return refused[0]


def current(settings: Settings, key: Key) -> object:
    """Return a key's value in the settings, comparable."""
    owner: object = settings
    for other in _sections(settings):
        if key.path in other:
            owner = other[key.path]
    value = getattr(owner, key.field_name)
    return dict(value) if isinstance(value, Mapping) else value


def candidates(key: Key, now: object) -> Iterator[tuple[str, Value]]:
    """Yield values that may be legal, the most telling ones first."""
    rules = key.rules
    if key.kind == "boolean":
        yield key.path, not now
    elif key.kind == "integer":
        assert isinstance(now, int)
        for value in (2 * now, now + 1, now // 2, now - 1, rules.minimum, rules.maximum):
            if value is not None:
                yield key.path, value
    elif key.kind == "map of integers":
        assert isinstance(now, dict)
        name, value = next(iter(now.items()))
        yield f"{key.path}.{name}", value // 2
    elif key.kind == "map of strings":
        assert isinstance(now, dict)
        yield f"{key.path}.{next(iter(now))}", TEXTS[key.path]
    elif key.path in TEXTS:
        yield key.path, TEXTS[key.path]
    elif key.kind == "list":
        assert isinstance(now, tuple)
        yield key.path, ",".join([*now, *(choice for choice in rules.choices if choice not in now)])
        yield key.path, ",".join(now[1:])
    else:
        for choice in rules.choices:
            yield key.path, choice


def _sections(settings: Settings) -> Iterator[Mapping[str, object]]:
    own = {key.path: settings for key in keys_of(Settings) if "." not in key.path}
    yield own
    for key in keys_of(Settings):
        section, dot, _ = key.path.partition(".")
        if dot:
            yield {key.path: getattr(settings, _snake(section))}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
