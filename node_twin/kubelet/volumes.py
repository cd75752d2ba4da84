"""What a volume is on this node: a directory or a file to be mounted."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from .environment import ConfigMapReader
from .errors import ManifestError
from .manifest import (
    ClaimVolume,
    ConfigMapVolume,
    ContainerSpec,
    EmptyDirVolume,
    HostPathVolume,
    PodManifest,
    Volume,
)
from .shim import Bind

_DATA = "..data"


Sources = Mapping[str, Path]
"""A pod's volumes, made, by their names in the manifest."""


def binds(sources: Sources, container: ContainerSpec) -> list[Bind]:
    """Return the container's mounts, outer ones first."""
    found: list[Bind] = []
    for mount in sorted(container.mounts, key=lambda mount: mount.mount_path):
        source = sources[mount.volume] / mount.sub_path
        if mount.sub_path and not source.exists():
            source.mkdir(parents=True)
        found.append({"source": str(source), "target": mount.mount_path, "read_only": mount.read_only})
    return found


def check_volume(
    volume: Volume, read_config_map: ConfigMapReader, *, exists: Callable[[str], bool | None]
) -> None:
    """Raise ManifestError where the node could not make a volume, as far as that is known beforehand.

    `exists` answers for the node's files; None where it cannot know.
    """
    match volume:
        case ConfigMapVolume():
            _select(volume, _config_map(volume, read_config_map))
        case HostPathVolume() if not volume.type.endswith("OrCreate") and exists(volume.path) is False:
            raise _missing(volume)


def make_volumes(
    manifest: PodManifest, pod_dir: Path, claims: Mapping[str, Path], read_config_map: ConfigMapReader
) -> Sources:
    """Make the pod's volumes, its own ones below `pod_dir`."""
    return {
        volume.name: _make(volume, pod_dir / "volumes" / volume.name, claims, read_config_map)
        for volume in manifest.volumes
    }


def refresh_config_maps(manifest: PodManifest, pod_dir: Path, read_config_map: ConfigMapReader) -> None:
    """Bring the files of the pod's ConfigMap volumes up to date."""
    for volume in manifest.volumes:
        if isinstance(volume, ConfigMapVolume):
            data = read_config_map(volume.config_map)
            # A ConfigMap that was deleted leaves its last files, as kubelet does.
            if data is not None:
                write_atomically(pod_dir / "volumes" / volume.name, _select(volume, data))


def write_atomically(directory: Path, files: Mapping[str, str]) -> bool:
    """Make `directory` show `files`, all of them at once; return whether anything changed.

    As kubelet's AtomicWriter does it: each file is a link into `..data`, which is a link to the
    directory with this version's files, and renaming a link is atomic. Who watches a file must
    therefore watch its directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / _DATA
    if data.exists() and _contents(data) == dict(files):
        return False
    version = directory / f"..{uuid.uuid4().hex}"
    version.mkdir()
    for name, text in files.items():
        (version / name).parent.mkdir(parents=True, exist_ok=True)
        (version / name).write_text(text, encoding="utf-8")
    before = data.readlink() if data.is_symlink() else None
    fresh = directory / f"{_DATA}_tmp"
    fresh.symlink_to(version.name)
    fresh.rename(data)
    visible = {Path(name).parts[0] for name in files}
    for name in visible:
        with contextlib.suppress(FileExistsError):
            (directory / name).symlink_to(f"{_DATA}/{name}")
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in visible:
            entry.unlink()
    if before is not None:
        shutil.rmtree(directory / before)
    return True


def _contents(data: Path) -> dict[str, str]:
    files = (Path(folder) / name for folder, _, names in os.walk(data.resolve()) for name in names)
    return {str(file.relative_to(data.resolve())): file.read_text(encoding="utf-8") for file in files}


def _make(volume: Volume, own: Path, claims: Mapping[str, Path], read_config_map: ConfigMapReader) -> Path:
    match volume:
        case ClaimVolume():
            return claims.get(volume.claim, next(iter(claims.values())))
        case EmptyDirVolume():
            own.mkdir(parents=True)
            own.chmod(0o777)
            return own
        case HostPathVolume():
            return _host_path(volume)
        case ConfigMapVolume():
            write_atomically(own, _select(volume, _config_map(volume, read_config_map)))
            return own


def _config_map(volume: ConfigMapVolume, read_config_map: ConfigMapReader) -> Mapping[str, str]:
    data = read_config_map(volume.config_map)
    if data is None and not volume.optional:
        raise ManifestError(f"volume {volume.name}: there is no ConfigMap {volume.config_map!r}")
    return data or {}


def _select(volume: ConfigMapVolume, data: Mapping[str, str]) -> dict[str, str]:
    if not volume.items:
        return dict(data)
    missing = [key for key, _ in volume.items if key not in data]
    if missing and not volume.optional:
        where = f"volume {volume.name}: ConfigMap {volume.config_map!r}"
        raise ManifestError(f"{where} has no key {missing[0]!r}; it has {', '.join(sorted(data)) or 'none'}")
    return {path: data[key] for key, path in volume.items if key in data}


def _host_path(volume: HostPathVolume) -> Path:
    path = Path(volume.path)
    match volume.type:
        case "DirectoryOrCreate":
            path.mkdir(parents=True, exist_ok=True)
        case "Directory" if not path.is_dir():
            raise ManifestError(f"volume {volume.name}: hostPath {path} is not a directory of the node")
        case _ if not path.exists():
            raise _missing(volume)
    return path


def _missing(volume: HostPathVolume) -> ManifestError:
    return ManifestError(f"volume {volume.name}: hostPath {volume.path} does not exist on the node")
