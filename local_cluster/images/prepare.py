"""From Dockerfiles to a disk: built, exported, unpacked; cached by what the images are made of."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from components.build_context import BuildContext
from local_cluster.errors import ImageError
from local_cluster.images import base, build, engine, store
from local_cluster.node.settings import PAUSE_IMAGE
from stacks.images import FOLDERS

ALL: Final = tuple(FOLDERS)
FORMAT: Final = "1"
"""Of the disk; another number makes all disks anew."""
_PAUSE: Final = Path(__file__).with_name("pause.c")

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A disk with the images, and how pods name them."""

    disk: Path
    references: Mapping[str, str]
    """By the program's name of each image: NAME@sha256:..."""
    sizes_bytes: Mapping[str, int]
    """What each image takes above nothing, shared layers counted each time."""


def prepared(
    cache: Path, base_image: str | None = None, *, names: Collection[str] = ALL, tell: Tell
) -> Prepared:
    """Return a disk with the images as their sources are now, making it where there is none yet.

    `base_image` names what the Dockerfiles start from, for an engine that can pull it; None makes it here.
    With fewer `names` than all a disk that has the others too will do.

    Raises:
        ClusterError: a tool is missing, or an image cannot be built.
    """
    whole = _Place.of(cache, ALL, base_image)
    place = whole if whole.is_made() else _Place.of(cache, names, base_image)
    disk = place.disk
    if place.is_made():
        return Prepared(disk=disk, **json.loads(place.note.read_text(encoding="utf-8")))
    disk.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="images-", dir=cache) as scratch:
        made = _make(place.contexts, base_image, cache, Path(scratch), disk, tell)
    kept = {name: value for name, value in asdict(made).items() if name != "disk"}
    place.note.write_text(json.dumps(kept), encoding="utf-8")
    for old in disk.parent.glob("*"):
        if old.stem != disk.stem:
            old.unlink()
    return made


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a disk is, made or not."""

    contexts: Mapping[str, BuildContext]
    disk: Path

    @classmethod
    def of(cls, cache: Path, names: Collection[str], base_image: str | None) -> _Place:
        contexts = {name: build.context(name) for name in sorted(names)}
        folder = cache / "store" / ("all" if set(names) == set(ALL) else "-".join(sorted(names)))
        return cls(contexts=contexts, disk=folder / f"{disk_key(contexts, base_image)}.img")

    @property
    def note(self) -> Path:
        return self.disk.with_suffix(".json")

    def is_made(self) -> bool:
        return self.disk.is_file() and self.note.is_file()


def _make(
    contexts: Mapping[str, BuildContext],
    base_image: str | None,
    cache: Path,
    scratch: Path,
    disk: Path,
    tell: Tell,
) -> Prepared:
    archive, began = scratch / "images.tar", time.monotonic()
    data = cache / "docker"
    data.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="drcio-docker-") as state,
        engine.running(Path(state), data, engine.BUILDS_ONLY) as docker,
    ):
        if base_image is None:
            tell("making the images' base from Debian's packages")
            base.provide(docker, cache)
        built = {
            name: build.build(docker, name, context, base_image, tell=tell)
            for name, context in contexts.items()
        }
        _add_pause(docker, scratch)
        tell("exporting the images")
        docker.run("save", "--output", str(archive), PAUSE_IMAGE, *(it.tag for it in built.values()))
    tell("unpacking the images into the node's store")
    root = scratch / "root"
    root.mkdir()
    stored = {image.tag: image for image in store.fill(root, [archive])}
    archive.unlink()
    store.write_disk(root, disk)
    tell(f"the images are ready after {time.monotonic() - began:.0f} s")
    return Prepared(
        disk=disk,
        references={name: stored[f"docker.io/{it.tag}"].reference for name, it in built.items()},
        sizes_bytes={name: it.size_bytes for name, it in built.items()},
    )


def _add_pause(docker: engine.Engine, scratch: Path) -> None:
    """Make the image of every pod's first container, which holds the pod's namespaces and does nothing."""
    program = scratch / "pause"
    done = subprocess.run(
        ["gcc", "-static", "-O2", "-s", "-o", str(program), str(_PAUSE)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ImageError(f"pause.c does not compile:\n{done.stderr}", hint="apt-get install gcc libc6-dev")
    archive = scratch / "pause.tar"
    subprocess.run(["tar", "-C", str(scratch), "-cf", str(archive), "pause"], check=True)
    docker.run(
        "import",
        "--change",
        'ENTRYPOINT ["/pause"]',
        "--change",
        "USER 65535:65535",
        str(archive),
        PAUSE_IMAGE,
    )
    archive.unlink()


def disk_key(contexts: Mapping[str, BuildContext], base_image: str | None) -> str:
    """Return what names a disk: equal for equal images."""
    parts = [FORMAT, base_image or base.RECIPE, _PAUSE.read_text()]
    parts += [f"{name} {context.source_hash}" for name, context in sorted(contexts.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
