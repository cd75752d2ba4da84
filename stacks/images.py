"""Which image each workload runs: built here, given by digest, or taken from the platform's stack."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pulumi

from components.build_context import stage
from components.errors import ArgumentError
from components.image import Image, ImageArgs
from stacks.configuration.keys import camel
from stacks.configuration.scenario import Parts
from stacks.configuration.settings import (
    CONTROLLER,
    EKS,
    EXPERIMENT,
    HP_SERVICE,
    LOAD_GENERATOR,
    LP_BATCH,
    Settings,
)
from stacks.errors import ConfigError

REPOSITORY: Final = Path(__file__).resolve().parent.parent

FOLDERS: Final[Mapping[str, str]] = {
    CONTROLLER: "drcio-controller",
    HP_SERVICE: HP_SERVICE,
    LP_BATCH: LP_BATCH,
    LOAD_GENERATOR: LOAD_GENERATOR,
    EXPERIMENT: "experiment-runner",
}

BUILT_FROM_ROOT: Final = frozenset({EXPERIMENT})
"""Images whose sources lie in several folders; the others are built from their own."""


def needed(parts: Parts) -> tuple[str, ...]:
    """Return the images that a stack's pods name."""
    return (
        *((HP_SERVICE,) if parts.service else ()),
        *((LP_BATCH,) if parts.batch_job else ()),
        *((CONTROLLER,) if parts.controller else ()),
        *((EXPERIMENT,) if parts.experiment else ()),
    )


def resolve_images(
    settings: Settings, parts: Parts, shared: pulumi.Output[Mapping[str, str]] | None
) -> dict[str, pulumi.Input[str]]:
    """Return a reference for each image that is built or needed, building what has to be.

    Raises:
        ConfigError: a needed image is neither built nor given.
    """
    references: dict[str, pulumi.Input[str]] = {}
    # Whatever the scenario, so that switching it builds nothing; a shared platform has built them already.
    building = () if settings.platform_stack else settings.images.built
    for name, folder in FOLDERS.items():
        if name in settings.images.given:
            references[name] = settings.images.given[name]
        elif name in building:
            references[name] = _build(settings, name, folder)
        elif shared is not None:
            references[name] = shared.apply(partial(_shared, name=name, settings=settings))
        elif name in needed(parts):
            raise ConfigError(
                f"image {name} is neither built nor given, and scenario {settings.scenario} needs it",
                hint=f"add {name} to drcio:images.build, or its reference as drcio:images.{config_key(name)}",
            )
    return references


def context_of(name: str) -> Path:
    """Return the folder whose `.dockerignore` lets through what the image is made of."""
    return REPOSITORY if name in BUILT_FROM_ROOT else REPOSITORY / "images" / FOLDERS[name]


def _build(settings: Settings, name: str, folder: str) -> pulumi.Output[str]:
    # On EKS a repository belongs to its cluster, so that two clusters of one account do not collide.
    prefix = settings.cluster.name if settings.platform == EKS else "drcio"
    try:
        context = stage(REPOSITORY, name, context_of(name), REPOSITORY / "images" / folder / "Dockerfile")
    except ArgumentError as error:
        raise ConfigError(f"image {name} cannot be built: {error}") from error
    args = ImageArgs(
        context=context,
        repository=f"{prefix}/{name}",
        registry=settings.images.registry or None,
        push=settings.images.push,
    )
    return Image(name, args).reference


def _shared(images: Mapping[str, str], *, name: str, settings: Settings) -> str:
    if name not in images:
        raise ConfigError(
            f"stack {settings.platform_stack} has no image {name}; it has {', '.join(images) or 'none'}",
            hint=f"build {name} there (drcio:images.build), or give its reference here",
        )
    return images[name]


def config_key(name: str) -> str:
    """Return an image's key in the configuration, below `drcio:images`."""
    return camel(name.replace("-", "_"))
