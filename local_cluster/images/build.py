"""Build the images from the Dockerfiles as they are shipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from components.build_context import BuildContext, stage
from local_cluster.images.engine import Engine
from stacks.images import FOLDERS, REPOSITORY, context_of

BUILD_TIMEOUT_S: Final = 1800.0


@dataclass(frozen=True, kw_only=True)
class Built:
    """One image in the engine."""

    tag: str
    size_bytes: int


def context(name: str) -> BuildContext:
    """Return what one image is built from, as the program gives it to Docker's provider."""
    dockerfile = REPOSITORY / "images" / FOLDERS[name] / "Dockerfile"
    return stage(REPOSITORY, name, context_of(name), dockerfile)


def build(
    engine: Engine,
    name: str,
    context: BuildContext,
    base_image: str | None = None,
    *,
    tell: Callable[[str], None] = lambda _: None,
) -> Built:
    """Build one image; what has not changed comes from the engine's cache."""
    tag = f"drcio/{name}:local"
    tell(f"building {tag}")
    base = ("--build-arg", f"BASE={base_image}") if base_image else ()
    where = ("--file", str(REPOSITORY / context.dockerfile), str(REPOSITORY / context.path))
    engine.run("build", "--network=host", "--tag", tag, *base, *where, timeout_s=BUILD_TIMEOUT_S)
    return Built(tag=tag, size_bytes=int(engine.inspect(tag, "{{.Size}}")))
