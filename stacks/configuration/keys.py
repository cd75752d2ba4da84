"""How a configuration key is declared: beside the dataclass field that holds its value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Final, TypeVar, cast, get_type_hints

NAMESPACE: Final = "drcio"

Value = str | int | bool | tuple[str, ...] | Mapping[str, str] | Mapping[str, int]
T = TypeVar("T")
Check = Callable[[str], str | None]
"""Returns what was expected when a text is refused, None when it is accepted."""

_KINDS: Final[Mapping[object, str]] = {
    str: "string",
    int: "integer",
    bool: "boolean",
    tuple[str, ...]: "list",
    Mapping[str, int]: "map of integers",
    Mapping[str, str]: "map of strings",
}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a value must satisfy, and the sentence that documents it."""

    doc: str
    name: str | None = None
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    check: Check | None = None


@dataclass(frozen=True, kw_only=True)
class Key:
    """One configuration key as the reader, Pulumi.yaml and the reference page see it."""

    path: str
    """As given to `pulumi config set --path`, without the namespace: `storage.iops`."""
    field_name: str
    kind: str
    default: Value
    rules: Rules

    @property
    def full_name(self) -> str:
        return f"{NAMESPACE}:{self.path}"


def key(default: T, doc: str, **rules: object) -> T:
    """Declare a field that is a configuration key; see `Rules` for the rest.

    Returns a dataclass field, typed as its value as `dataclasses.field` is.
    """
    described = Rules(doc=doc, **rules)  # type: ignore[arg-type]  # the field names are checked by Rules
    if isinstance(default, Mapping):
        # dataclasses refuse a mutable default; every instance may share this one, nobody writes to it.
        return cast(T, field(default_factory=lambda: default, metadata={"rules": described}))
    return field(default=default, metadata={"rules": described})


def keys_of(section: type, prefix: str = "") -> Iterator[Key]:
    """Yield the keys that a settings dataclass declares, in its order, nested sections included."""
    hints = get_type_hints(section)
    for item in fields(section):
        name = camel(item.name)
        hint = hints[item.name]
        rules = item.metadata.get("rules")
        if isinstance(rules, Rules):
            yield Key(
                path=f"{prefix}{rules.name or name}",
                field_name=item.name,
                kind=_KINDS[hint],
                default=_default(item),
                rules=rules,
            )
        elif is_dataclass(hint) and isinstance(hint, type):
            yield from keys_of(hint, f"{prefix}{name}.")


def camel(name: str) -> str:
    """Return a Python name as Pulumi and Kubernetes write it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _default(item: Field[object]) -> Value:
    if item.default_factory is not MISSING:
        return cast(Value, item.default_factory())
    return cast(Value, item.default)
