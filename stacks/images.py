"""Which image each workload runs: built here, given by digest, or taken from the platform's stack."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pulumi

from components.image import Image, ImageArgs
from stacks.errors import ConfigError
from stacks.keys import camel
from stacks.scenario import Parts
from stacks.settings import EKS, Images, Settings

ROOT: Final = Path(__file__).resolve().parent.parent / "images"

CONTROLLER: Final = "controller"
HP_SERVICE: Final = "hp-service"
LP_BATCH: Final = "lp-batch"
LOAD_GENERATOR: Final = "load-generator"

FOLDERS: Final[Mapping[str, str]] = {
    CONTROLLER: "drcio-controller",
    HP_SERVICE: HP_SERVICE,
    LP_BATCH: LP_BATCH,
    LOAD_GENERATOR: LOAD_GENERATOR,
}


def given_reference(images: Images, name: str) -> str:
    """Return the configured reference of an image, empty where there is none."""
    return {
        CONTROLLER: images.controller,
        HP_SERVICE: images.hp_service,
        LP_BATCH: images.lp_batch,
        LOAD_GENERATOR: images.load_generator,
    }[name]


def needed(parts: Parts) -> tuple[str, ...]:
    """Return the images that a stack's pods name."""
    return (
        HP_SERVICE,
        *((LP_BATCH,) if parts.batch_job else ()),
        *((CONTROLLER,) if parts.controller else ()),
        *((LOAD_GENERATOR,) if parts.experiment else ()),
    )


def to_build(settings: Settings) -> tuple[str, ...]:
    """Return the images that this stack builds, whatever the scenario: switching it builds nothing."""
    if settings.platform_stack or settings.images.build == ("none",):
        return ()
    chosen = FOLDERS if settings.images.build == ("all",) else settings.images.build
    return tuple(name for name in FOLDERS if name in chosen and not given_reference(settings.images, name))


def resolve_images(
    settings: Settings, parts: Parts, shared: pulumi.Output[Mapping[str, str]] | None
) -> dict[str, pulumi.Input[str]]:
    """Return a reference for each image that is built or needed, building what has to be.

    Raises:
        ConfigError: a needed image is neither built nor given.
    """
    references: dict[str, pulumi.Input[str]] = {}
    building = to_build(settings)
    for name, folder in FOLDERS.items():
        given = given_reference(settings.images, name)
        if given:
            references[name] = given
        elif name in building:
            references[name] = _build(settings, name, folder)
        elif shared is not None:
            references[name] = shared.apply(partial(_shared, name=name, settings=settings))
        elif name in needed(parts):
            raise ConfigError(
                f"image {name} is neither built nor given, and scenario {settings.scenario} needs it",
                hint=f"add {name} to drcio:images.build, or its reference as drcio:images.{_key(name)}",
            )
    return references


def _build(settings: Settings, name: str, folder: str) -> pulumi.Output[str]:
    # On EKS a repository belongs to its cluster, so that two clusters of one account do not collide.
    prefix = settings.cluster.name if settings.platform == EKS else "drcio"
    args = ImageArgs(
        context=ROOT / folder,
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


def _key(name: str) -> str:
    return camel(name.replace("-", "_"))
