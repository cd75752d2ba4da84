"""A container's environment and command line: the downward API and `$(NAME)`."""

import re
from collections.abc import Callable, Mapping

from .errors import ManifestError
from .manifest import ConfigMapEnv, ContainerSpec, FieldEnv, LiteralEnv, PodManifest

_REFERENCE = re.compile(r"\$\$|\$\(([-._A-Za-z][-._A-Za-z0-9]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")

ConfigMapReader = Callable[[str], Mapping[str, str] | None]
"""Returns a ConfigMap's data by name, or None where there is no such ConfigMap."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value and `$$` by `$`; an unknown name stays as it is."""

    def value(found: re.Match[str]) -> str:
        if found[1] is None:
            return "$"
        return variables.get(found[1], found[0])

    return _REFERENCE.sub(value, text)


def environment(
    manifest: PodManifest,
    container: ContainerSpec,
    *,
    given: Mapping[str, str],
    read_config_map: ConfigMapReader,
) -> dict[str, str]:
    """Return the container's variables: `given` ones, then the manifest's in their order."""
    variables = dict(given)
    for entry in container.env:
        match entry:
            case LiteralEnv(name, value):
                variables[name] = expand(value, variables)
            case FieldEnv(name, path):
                variables[name] = pod_field(manifest, path)
            case ConfigMapEnv(name, config_map, key, optional):
                data = read_config_map(config_map) or {}
                if key in data:
                    variables[name] = data[key]
                elif not optional:
                    raise ManifestError(f"env {name}: ConfigMap {config_map!r} has no key {key!r}")
    return variables


def command_line(container: ContainerSpec, variables: Mapping[str, str]) -> list[str]:
    """Return the arguments to execute: `command`, then `args`; an image's own entry point is not known."""
    command = [*container.command, *container.args]
    if not command:
        raise ManifestError(
            f"container {container.name} has no command, and the image {container.image!r} is not known here",
            hint="give it a command",
        )
    return [expand(argument, variables) for argument in command]


def pod_field(manifest: PodManifest, path: str) -> str:
    """Return a field of the pod as the downward API gives it."""
    fields = {
        "metadata.name": manifest.name,
        "metadata.namespace": manifest.namespace,
        "metadata.uid": manifest.uid,
        "spec.nodeName": manifest.node_name,
    }
    if path in fields:
        return fields[path]
    if found := _SUBSCRIPT.fullmatch(path):
        mapping = manifest.labels if found[1] == "labels" else manifest.annotations
        return mapping.get(found[2], "")
    expected = ", ".join((*fields, "metadata.labels['KEY']", "metadata.annotations['KEY']"))
    raise ManifestError(f"fieldPath is {path!r}; expected one of {expected}")
