"""What a decoded JSON document is, and how to look into one without trusting it."""

from typing import TypeAlias

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
JsonObject: TypeAlias = dict[str, Json]


def object_at(parent: JsonObject, *path: str) -> JsonObject:
    """Return the object at `path`; an empty one where it is absent or something else."""
    here = parent
    for key in path:
        child = here.get(key)
        if not isinstance(child, dict):
            return {}
        here = child
    return here


def text_at(parent: JsonObject, *path: str) -> str:
    """Return the string at `path`; an empty one where it is absent or something else."""
    value = object_at(parent, *path[:-1]).get(path[-1])
    return value if isinstance(value, str) else ""


def objects_at(parent: JsonObject, *path: str) -> list[JsonObject]:
    """Return the objects in the list at `path`, leaving out whatever is not one."""
    value = object_at(parent, *path[:-1]).get(path[-1])
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
