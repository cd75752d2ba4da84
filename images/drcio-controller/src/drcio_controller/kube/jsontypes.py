"""What a decoded JSON document is, and how to look into one without trusting it."""

from collections.abc import Mapping
from typing import TypeAlias

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
JsonObject: TypeAlias = dict[str, Json]


def object_at(parent: Mapping[str, object], *path: str) -> JsonObject:
    """Return the object at `path`; an empty one where it is absent or something else."""
    here: object = parent
    for key in path:
        here = here.get(key) if isinstance(here, Mapping) else None
    return here if isinstance(here, dict) else {}


def text_at(parent: Mapping[str, object], *path: str) -> str:
    """Return the string at `path`; an empty one where it is absent or something else."""
    value = object_at(parent, *path[:-1]).get(path[-1])
    return value if isinstance(value, str) else ""


def objects_at(parent: Mapping[str, object], *path: str) -> list[JsonObject]:
    """Return the objects in the list at `path`, leaving out whatever is not one."""
    value = object_at(parent, *path[:-1]).get(path[-1])
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
