"""Read a stack's configuration once, refuse what is wrong with it, and return it frozen.

The only module that reads `pulumi.Config`.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Final, TypeVar, cast, get_type_hints

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env

from components.monitoring import NAMESPACE as MONITORING_NAMESPACE
from drcio_controller.config import DEFAULT_CLASSES
from drcio_controller.ebs import GP3_BASE_IOPS, GP3_IOPS_PER_GIB, GP3_IOPS_PER_MIB_S
from load_generator.schedule import Arrivals
from lp_batch.errors import UsageError
from lp_batch.patterns import Pattern
from lp_batch.plan import Plan
from lp_batch.units import GIB, parse_size
from stacks.configuration import checks
from stacks.configuration.keys import NAMESPACE, Key, Value, camel, keys_of
from stacks.configuration.kubeconfig import current_context
from stacks.configuration.scenario import parts_of
from stacks.configuration.settings import DRCIO, EKS, EXISTING, Settings
from stacks.configuration.volumes import parse_told
from stacks.errors import ConfigError
from stacks.suggestions import did_you_mean

DEFAULT_REGION: Final = "us-east-1"
"""Where neither the stack nor the environment names one; the AWS provider then has none either."""
REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
"""Where the AWS provider looks when the stack names no region, in its order."""
REFERENCE: Final = "docs/reference/configuration.md"

SERVICE_DATA_GIB: Final = 2
"""What the service's features and model take on the volume, with room to spare."""

_BATCH_OPTIONS: Final = {
    "--block-size": "blockSize",
    "--file-size": "fileSize",
    "--num-workers": "workers",
    "--num-operations": "operations",
    "--rate": "rateMibps",
}
"""The batch job's own names of what a stack sets."""
_INTEGER = re.compile(r"-?[0-9]{1,18}\Z")
"""No setting comes near its end; Python refuses to read what is much longer."""
_SHOWN: Final = 80
"""Of a refused value; a message is to be read."""
S = TypeVar("S")


def load() -> Settings:
    """Read the running stack's configuration.

    Raises:
        ConfigError: a value, or a combination of values, is refused.
    """
    ours = pulumi.Config(NAMESPACE)
    # pulumi.Config cannot list what is set, and a misspelt key must not be ignored.
    everything = {**get_config_env(), **CONFIG.get()}
    names = sorted(
        name.removeprefix(f"{NAMESPACE}:") for name in everything if name.startswith(f"{NAMESPACE}:")
    )
    given = {name: ours.require(name) for name in names}
    return parse(
        given,
        stack=pulumi.get_stack(),
        region=_region(pulumi.Config("aws").get("region"), os.environ),
        current_context=current_context(os.environ),
    )


def _region(configured: str | None, environ: Mapping[str, str]) -> str:
    """Return the region that the AWS provider takes: the stack's own comes before the environment's."""
    found = (environ.get(name) for name in REGION_VARIABLES)
    return configured or next((name for name in found if name), DEFAULT_REGION)


def parse(given: Mapping[str, str], *, stack: str, region: str, current_context: str = "") -> Settings:
    """Return the settings for a stack's texts as Pulumi hands them over.

    `given` has one entry per top-level key, without namespace; structured values are JSON.

    Raises:
        ConfigError: a value, or a combination of values, is refused.
    """
    tops = {key.path.split(".")[0] for key in keys_of(Settings)}
    for name in given:
        if "." in name:
            raise ConfigError(
                f"{NAMESPACE}:{name} is set as one flat name; expected a path",
                hint=f"pulumi config rm '{NAMESPACE}:{name}', then set it with pulumi config set --path",
            )
    tree = {name: _decode(name, text) for name, text in given.items()}
    _refuse_unknown(tree, tops, "")
    fixed = {"stack": stack, "region": region, "current_context": current_context}
    settings = _section(Settings, tree, "", fixed)
    _check_together(settings)
    return settings


def _section(kind: type[S], tree: Mapping[str, object], prefix: str, fixed: Mapping[str, object]) -> S:
    own = {key.field_name: key for key in keys_of(kind, prefix) if "." not in key.path.removeprefix(prefix)}
    values: dict[str, object] = dict(fixed)
    hints = get_type_hints(kind)
    for item in fields(kind):  # type: ignore[arg-type]  # only settings dataclasses get here
        if item.name in own:
            key = own[item.name]
            name = key.path.removeprefix(prefix)
            if name in tree:
                values[item.name] = _value(key, tree[name])
        elif is_dataclass(hints[item.name]):
            name = camel(item.name)
            subtree = tree.get(name, {})
            if not isinstance(subtree, Mapping):
                raise ConfigError(
                    f"{NAMESPACE}:{prefix}{name} is {subtree!r}; expected keys below it",
                    hint=f"see {REFERENCE}",
                )
            section = hints[item.name]
            known = {
                key.path.removeprefix(f"{prefix}{name}.") for key in keys_of(section, f"{prefix}{name}.")
            }
            _refuse_unknown(subtree, known, f"{prefix}{name}.")
            values[item.name] = _section(section, subtree, f"{prefix}{name}.", {})
    return kind(**values)


def _decode(name: str, text: str) -> object:
    if not text.startswith(("{", "[")):
        return text
    try:
        return cast(object, json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{NAMESPACE}:{name} is not valid JSON: {error}", hint=f"see {REFERENCE}") from None


def _refuse_unknown(tree: Mapping[str, object], known: set[str], prefix: str) -> None:
    for name in tree:
        if name not in known:
            keys = [f"{prefix}{it}" for it in sorted(known)] + [key.path for key in keys_of(Settings)]
            raise ConfigError(
                f"{NAMESPACE}:{prefix}{name} is no configuration key; "
                f"expected one of {', '.join(sorted(known))}",
                hint=f"{did_you_mean(f'{prefix}{name}', keys)}"
                f"pulumi config rm --path '{NAMESPACE}:{prefix}{name}'; every key is in {REFERENCE}",
            )


def _value(key: Key, raw: object) -> Value:
    """Check one value and return it in the field's type."""
    if key.kind == "boolean":
        return _boolean(key, raw)
    if key.kind == "integer":
        return _integer(key, raw, key.full_name)
    if key.kind == "list":
        return _list(key, raw)
    if key.kind.startswith("map"):
        return _map(key, raw)
    return _text(key, raw, key.full_name)


def _refuse(key: Key, raw: object, expected: str, where: str) -> ConfigError:
    found = repr(raw)
    return ConfigError(
        f"{where} is {found if len(found) <= _SHOWN else f'{found[:_SHOWN]}...'}; expected {expected}",
        hint=f"{did_you_mean(str(raw), key.rules.choices)}"
        f"pulumi config set --path '{where}' VALUE; the default is {render_default(key)}",
    )


def _boolean(key: Key, raw: object) -> bool:
    if raw in (True, "true"):
        return True
    if raw in (False, "false"):
        return False
    raise _refuse(key, raw, "true or false", key.full_name)


def _integer(key: Key, raw: object, where: str) -> int:
    low, high = key.rules.minimum, key.rules.maximum
    expected = f"a whole number from {low} to {high}"
    if isinstance(raw, bool) or not isinstance(raw, int | str) or not _INTEGER.match(str(raw)):
        raise _refuse(key, raw, expected, where)
    value = int(raw)
    if (low is not None and value < low) or (high is not None and value > high):
        raise _refuse(key, value, expected, where)
    return value


def _text(key: Key, raw: object, where: str) -> str:
    # `pulumi config set --path` turns 1.35 into a number; the text is what was meant.
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise _refuse(key, raw, "text", where)
    text = str(raw)
    if key.rules.choices and text not in key.rules.choices:
        raise _refuse(key, text, f"one of {', '.join(key.rules.choices)}", where)
    expected = key.rules.check(text) if key.rules.check else None
    if expected:
        raise _refuse(key, text, expected, where)
    return text


def _list(key: Key, raw: object) -> tuple[str, ...]:
    """Accept a list, or a text with commas: the command line has no other way to set one.

    Empty is accepted where it is the default: Pulumi.yaml declares it, and so every stack has it.
    """
    if raw in ("", []) and key.default == ():
        return ()
    parts = [part.strip() for part in raw.split(",")] if isinstance(raw, str) else raw
    if not isinstance(parts, list) or not parts or "" in parts:
        raise _refuse(key, raw, "one or more values, separated by commas", key.full_name)
    texts = tuple(_text(key, part, key.full_name) for part in parts)
    if len(set(texts)) < len(texts):
        raise _refuse(key, raw, "each value once", key.full_name)
    return texts


def _map(key: Key, raw: object) -> Mapping[str, int] | Mapping[str, str]:
    """Lay the given entries over the default ones."""
    if not isinstance(raw, Mapping):
        raise _refuse(key, raw, "a map; set one entry as KEY.NAME", key.full_name)
    merged = dict(cast(Mapping[str, object], key.default))
    for name, value in raw.items():
        where = f"{key.full_name}.{name}"
        expected = checks.dns_label(str(name))
        if expected:
            raise ConfigError(f"{where}: the name is {name!r}; expected {expected}", hint=f"see {REFERENCE}")
        integers = key.kind == "map of integers"
        merged[name] = _integer(key, value, where) if integers else _text(key, value, where)
    return cast(Mapping[str, int], MappingProxyType(merged))


def render_default(key: Key) -> str:
    """Return a default as it would be typed."""
    if isinstance(key.default, bool):
        return str(key.default).lower()
    if isinstance(key.default, tuple):
        return ",".join(key.default) or "empty"
    if isinstance(key.default, Mapping):
        return ", ".join(
            f"{name}: {value}" if value != "" else f"{name}: empty" for name, value in key.default.items()
        )
    return str(key.default) if key.default != "" else "empty"


def _check_together(settings: Settings) -> None:
    if settings.platform == EXISTING and settings.platform_stack:
        raise ConfigError(
            "drcio:platformStack is set and drcio:platform is existing; expected only one of them",
            hint="pulumi config set drcio:platform eks, or pulumi config rm drcio:platformStack",
        )
    if settings.kube_context and settings.platform == EKS:
        raise ConfigError(
            f"drcio:kubeContext is {settings.kube_context!r} and drcio:platform is eks; expected no context",
            hint="pulumi config set drcio:platform existing, or pulumi config rm drcio:kubeContext",
        )
    _check_alone(settings)
    storage = settings.storage
    if storage.iops > GP3_BASE_IOPS and storage.iops > GP3_IOPS_PER_GIB * storage.size_gib:
        raise ConfigError(
            f"drcio:storage.iops is {storage.iops} on {storage.size_gib} GiB; "
            f"expected at most {GP3_IOPS_PER_GIB * storage.size_gib} ({GP3_IOPS_PER_GIB} per GiB)",
            hint=f"pulumi config set --path 'drcio:storage.sizeGib' {-(-storage.iops // GP3_IOPS_PER_GIB)}",
        )
    throughput_max_mib_s = storage.iops // GP3_IOPS_PER_MIB_S
    if storage.throughput_mib_s > throughput_max_mib_s:
        iops_needed = GP3_IOPS_PER_MIB_S * storage.throughput_mib_s
        raise ConfigError(
            f"drcio:storage.throughputMibps is {storage.throughput_mib_s} with {storage.iops} IOPS; "
            f"expected at most {throughput_max_mib_s} ({1 / GP3_IOPS_PER_MIB_S} MiB/s per IOPS)",
            hint=f"pulumi config set --path 'drcio:storage.iops' {iops_needed}",
        )
    if parts_of(settings).batch_job:
        _check_batch(settings)
    if settings.workload_namespace == MONITORING_NAMESPACE:
        raise ConfigError(
            f"drcio:namespace is {MONITORING_NAMESPACE!r}, which Prometheus and Grafana have; "
            "expected another one",
            hint="pulumi config set drcio:namespace NAME",
        )
    for where, name in (
        ("drcio:service.priority", settings.service.priority),
        *((f"drcio:controller.targets.{name}", name) for name in settings.controller.targets),
    ):
        if name not in settings.io_weights:
            raise ConfigError(
                f"{where} names the class {name!r}; expected one of {', '.join(settings.io_weights)}",
                hint=f"pulumi config set --path 'drcio:ioWeights.{name}' WEIGHT",
            )
    _check_weights(settings)
    _check_volumes(settings)
    _check_arrivals(settings)
    _check_images(settings)


def _check_weights(settings: Settings) -> None:
    """Refuse classes whose weights are the opposite of their names: low priority would be protected."""
    for higher, lower in itertools.pairwise(DEFAULT_CLASSES):
        weight, least = settings.io_weights[higher], settings.io_weights[lower]
        if weight < least:
            raise ConfigError(
                f"drcio:ioWeights.{higher} is {weight} and drcio:ioWeights.{lower} is {least}; "
                f"expected {higher} to weigh at least as much as {lower}",
                hint=f"pulumi config set --path 'drcio:ioWeights.{lower}' {weight}, or a class of your own",
            )


def _check_volumes(settings: Settings) -> None:
    """Refuse two volumes for one device: the second would never count."""
    devices = [parse_told(text)[0] for text in settings.controller.volumes]
    twice = next((device for device in devices if devices.count(device) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"drcio:controller.volumes is {','.join(settings.controller.volumes)}; expected {twice} once",
            hint="pulumi config set --path 'drcio:controller.volumes' VALUE; the first that fits counts",
        )


def _check_arrivals(settings: Settings) -> None:
    """Refuse equal gaps from several pods: these begin together, and so would each of their requests."""
    experiment = settings.experiment
    if experiment.pods > 1 and experiment.arrivals == Arrivals.CONSTANT:
        raise ConfigError(
            f"drcio:experiment.arrivals is constant and drcio:experiment.pods is {experiment.pods}; "
            "expected poisson, or one pod: requests of several would come together",
            hint="pulumi config set --path 'drcio:experiment.arrivals' poisson",
        )


def _check_batch(settings: Settings) -> None:
    """Refuse what the batch job itself would refuse, pod after pod, once it runs; and a volume too small."""
    batch, size_gib = settings.batch, settings.storage.size_gib
    try:
        Plan(
            pattern=Pattern(batch.pattern),
            block_bytes=parse_size(batch.block_size),
            workers=batch.workers,
            file_bytes=parse_size(batch.file_size),
            num_operations=batch.operations or None,
            duration_s=None,
            rate_mib_s=batch.rate_mib_s or None,
            seed=0,
            verify_full_ratio=0.0,
            read_back_every=0,
            fsync_every=1,
        )
    except UsageError as error:
        said = str(error)
        for option, key in _BATCH_OPTIONS.items():
            said = said.replace(option, f"drcio:batch.{key}")
        raise ConfigError(
            said, hint=error.hint or "pulumi config set --path 'drcio:batch.KEY' VALUE"
        ) from None
    files_gib = -(-parse_size(batch.file_size) * batch.parallelism // GIB)
    if files_gib + SERVICE_DATA_GIB > size_gib:
        raise ConfigError(
            f"drcio:storage.sizeGib is {size_gib} and the batch job's files take {files_gib}; "
            f"expected at least {files_gib + SERVICE_DATA_GIB}",
            hint=f"pulumi config set --path 'drcio:storage.sizeGib' {files_gib + SERVICE_DATA_GIB}",
        )


def _check_alone(settings: Settings) -> None:
    """Refuse what needs the demo's workloads where they are off."""
    if settings.workloads.enabled:
        return
    for key, found, expected, wrong in (
        ("platform", settings.platform, EXISTING, settings.platform != EXISTING),
        ("scenario", settings.scenario, DRCIO, settings.scenario != DRCIO),
        ("controller.enabled", "false", "true", not settings.controller.enabled),
        ("experiment.enabled", "true", "false", settings.experiment.enabled),
    ):
        if wrong:
            raise ConfigError(
                f"drcio:{key} is {found} and drcio:workloads.enabled is false, which leaves the controller"
                f" alone; expected {expected}",
                hint=f"pulumi config set --path 'drcio:{key}' {expected}",
            )


def _check_images(settings: Settings) -> None:
    images = settings.images
    if len(images.build) > 1 and {"all", "none"} & set(images.build):
        raise ConfigError(
            f"drcio:images.build is {','.join(images.build)}; expected all, none, or names only",
            hint="pulumi config set --path 'drcio:images.build' controller,hp-service",
        )
    if settings.platform == EXISTING and images.built and images.push and not images.registry:
        raise ConfigError(
            "drcio:images.registry is empty; an existing cluster needs a registry to push to",
            hint="set drcio:images.registry, or drcio:images.push to false, or drcio:images.build to none "
            "with references by digest",
        )
