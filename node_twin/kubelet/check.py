"""What a node would refuse of a Pod, found out before there is a node, by the code that would refuse it.

The guest's root is this machine's file system: what is not here is not there either. Its /dev, /proc, /run
and /sys are its own, and what lies on a volume is the pod's affair: there, nothing is said.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from drcio_controller.kube.jsontypes import JsonObject

from .environment import ConfigMapReader, command_line, environment
from .errors import ManifestError
from .fields import unknown_fields
from .manifest import ContainerSpec, PodManifest, parse_manifest
from .volumes import check_volume

_GUESTS_OWN: Final = ("/dev", "/proc", "/run", "/sys", "/var/run")
_RESULTS: Final = "/results"


def refusals(
    document: JsonObject,
    *,
    base_env: Mapping[str, str],
    read_config_map: ConfigMapReader = lambda _: None,
    root: Path = Path("/"),
) -> list[ManifestError]:
    """Return why a node would not run this Pod; empty where it would.

    `base_env` is what an image would set; `root` is where the machine's file system is looked at.
    """
    try:
        manifest = parse_manifest(document)
    except ManifestError as error:
        metadata = document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        # A mistyped name is often why something else is missing: it is reported as well.
        return [*unknown_fields(document, f"pod {name}" if name else "pod"), error]
    where = f"pod {manifest.name}"
    found = unknown_fields(document, where)
    for volume in manifest.volumes:
        try:
            check_volume(volume, read_config_map, exists=lambda path: _on_machine(root, path))
        except ManifestError as error:
            found.append(_at(f"{where}.spec.volumes", error))
    for container in manifest.all_containers:
        kind = "initContainers" if container in manifest.init_containers else "containers"
        try:
            _check_container(manifest, container, base_env, read_config_map, root)
        except ManifestError as error:
            found.append(_at(f"{where}.spec.{kind}[{container.name}]", error))
    return found


def _check_container(
    manifest: PodManifest,
    container: ContainerSpec,
    base_env: Mapping[str, str],
    read_config_map: ConfigMapReader,
    root: Path,
) -> None:
    variables = environment(manifest, container, given=base_env, read_config_map=read_config_map)
    program, *_ = command_line(container, variables)
    mounted = (*(mount.mount_path for mount in container.mounts), _RESULTS)
    directory = PurePosixPath("/") / container.working_dir
    if not _within(directory, mounted) and _on_machine(root, str(directory)) is False:
        raise ManifestError(f"workingDir is {container.working_dir!r}; expected a folder of this machine")
    places = [directory] if "/" in program else map(PurePosixPath, variables.get("PATH", "").split(":"))
    if not any(_may_run(root, place / program, mounted) for place in places):
        raise ManifestError(
            f"command is {program!r}; expected a program of this machine, looked for "
            + (f"at {directory / program}" if "/" in program else f"on PATH={variables.get('PATH', '')}"),
            hint="pods run from this machine's own file system: install the program, or correct its name",
        )


def _may_run(root: Path, program: PurePosixPath, mounted: tuple[str, ...]) -> bool:
    if _within(program, mounted) or _within(program, _GUESTS_OWN):
        return True
    try:
        mode = (root / program.relative_to("/")).stat().st_mode
    except PermissionError:
        return True  # root, which the guest has, may look
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o111)


def _on_machine(root: Path, path: str) -> bool | None:
    """Return whether a path is there; None where only the guest knows."""
    if _within(PurePosixPath(path), _GUESTS_OWN):
        return None
    try:
        (root / path.lstrip("/")).stat()
    except PermissionError:
        return None
    except OSError:
        return False
    return True


def _within(path: PurePosixPath, trees: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(tree) for tree in trees)


def _at(where: str, error: ManifestError) -> ManifestError:
    return ManifestError(f"{where}: {error.message}", hint=error.hint)
