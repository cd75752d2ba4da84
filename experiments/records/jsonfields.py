"""Read JSON field by field, so that a bad file is refused with the very field that is wrong."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    ClassVar,
    Final,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from experiments.errors import RecordError
from experiments.records.values import UNIX_S_END, Count, Number, Positive, UnixS
from load_generator.document import Json

JsonValue: TypeAlias = Json
JsonObject: TypeAlias = Mapping[str, JsonValue]

T = TypeVar("T")
Kind: TypeAlias = object
"""A type, or what typing makes of several."""

_FOUND_MAX_CHARS = 60


class Counters(dict[str, int]):
    """Counters by name, of which some must be there, and any others may be."""

    required: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A JSON value together with the place it came from."""

    value: JsonValue
    path: str
    source: str
    hint: str

    def get(self, name: str) -> Field:
        """Return a field that must be there."""
        mapping = self.object()
        if name not in mapping:
            raise RecordError(
                f"{self.source}: field {self._join(name)} is missing; "
                f"found {', '.join(sorted(mapping)) or 'no fields'}",
                hint=self.hint,
            )
        return self._at(name, mapping[name])

    def find(self, name: str) -> Field | None:
        """Return a field, or None where it is absent or null."""
        value = self.object().get(name)
        return None if value is None else self._at(name, value)

    def object(self) -> JsonObject:
        if not isinstance(self.value, Mapping):
            raise self.refuse("an object")
        return self.value

    def entries(self) -> dict[str, Field]:
        return {name: self._at(name, value) for name, value in self.object().items()}

    def items(self) -> list[Field]:
        if isinstance(self.value, str) or not isinstance(self.value, Sequence):
            raise self.refuse("a list")
        return [
            Field(value, f"{self.path}[{index}]", self.source, self.hint)
            for index, value in enumerate(self.value)
        ]

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.refuse("a string")
        return self.value

    def texts(self) -> tuple[str, ...]:
        return tuple(item.text() for item in self.items())

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.refuse("true or false")
        return self.value

    def integer(self) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.refuse("a whole number")
        return self.value

    def count(self) -> int:
        """Return a whole number that cannot be negative, such as a kernel counter."""
        number = self.integer()
        if number < 0:
            raise self.refuse("a whole number of at least 0")
        return number

    def number(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.refuse("a number")
        try:
            number = float(self.value)
        except OverflowError:
            raise self.refuse("a number that a float can hold") from None
        if not math.isfinite(number):
            raise self.refuse("a finite number")
        return number

    def positive(self) -> float:
        number = self.number()
        if number <= 0:
            raise self.refuse("a number above 0")
        return number

    def unix_s(self) -> float:
        """Return a moment in seconds since 1970 that a calendar can show."""
        number = self.number()
        if not 0 <= number < UNIX_S_END:
            raise self.refuse("seconds since 1970")
        return number

    def convert(self, kind: type[T]) -> T:
        """Return this value as what a class describes; fields that the class does not name are passed over.

        Raises RecordError with the very field that is wrong.
        """
        try:
            return msgspec.convert(self.value, kind, dec_hook=_counters)
        except msgspec.ValidationError as error:
            self._check(kind)
            raise self.refuse(str(error)) from None

    def _check(self, kind: Kind) -> None:
        """Go through a value that does not fit, until the field is found that does not."""
        origin, inner = get_origin(kind), get_args(kind)
        if dataclasses.is_dataclass(kind):
            self._check_fields(cast(type, kind))
        elif kind in _CHECKS:
            _CHECKS[kind](self)
        elif origin is Literal:
            if self.value not in inner:
                raise self.refuse(f"one of {', '.join(map(str, inner))}")
        elif origin in (Union, UnionType):
            if self.value is not None:
                self._check(next(one for one in inner if one is not NoneType))
        elif origin is Mapping:
            for entry in self.entries().values():
                entry._check(inner[1])
        elif origin is tuple:
            for item in self.items():
                item._check(inner[0])
        elif isinstance(kind, type) and issubclass(kind, Counters):
            for name in kind.required:
                self.get(name)
            for entry in self.entries().values():
                entry.count()

    def _check_fields(self, kind: type) -> None:
        types = get_type_hints(kind, include_extras=True)
        mapping = self.object()
        for one in dataclasses.fields(kind):
            if one.name in mapping:
                self._at(one.name, mapping[one.name])._check(types[one.name])
            elif one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
                self.get(one.name)

    def refuse(self, expected: str) -> RecordError:
        """Build the error that names what was found here and what should have been."""
        found = json.dumps(self.value, default=str)
        if len(found) > _FOUND_MAX_CHARS:
            found = found[:_FOUND_MAX_CHARS] + "..."
        return RecordError(
            f"{self.source}: {self.path or 'the document'} is {found}; expected {expected}", hint=self.hint
        )

    def _at(self, name: str, value: JsonValue) -> Field:
        return Field(value, self._join(name), self.source, self.hint)

    def _join(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def objects(value: JsonValue) -> Iterator[JsonObject]:
    """Yield the objects of a list that another program wrote; whatever else is there is passed over."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        yield from (entry for entry in value if isinstance(entry, Mapping))


def read_document(path: Path, *, schema: str, hint: str) -> Field:
    """Read one JSON file and check the schema it claims.

    Raises RecordError where the file is missing, is no JSON, or is of another schema.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise RecordError(f"{path}: no such file", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read: {error}", hint=hint) from error
    return parse_document(text, source=str(path), schema=schema, hint=hint)


def parse_document(text: str, *, source: str, schema: str, hint: str) -> Field:
    """Parse JSON text and check the schema it claims; `source` names it in errors."""
    try:
        value: JsonValue = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise RecordError(f"{source}: not JSON: {error}", hint=hint) from None
    document = Field(value, "", source, hint)
    claimed = document.get("schema")
    if claimed.value != schema:
        raise claimed.refuse(json.dumps(schema))
    return document


def dump(value: object) -> JsonObject:
    """Return the JSON form of an object of a class that describes a format."""
    return cast(JsonObject, msgspec.to_builtins(value))


_CHECKS: Final[Mapping[Kind, Callable[[Field], object]]] = {
    str: Field.text,
    bool: Field.flag,
    int: Field.integer,
    Count: Field.count,
    float: Field.number,
    Number: Field.number,
    Positive: Field.positive,
    UnixS: Field.unix_s,
    JsonObject: Field.object,
}
"""How the value of a type is checked, and how it is called where it is something else."""


def _counters(kind: type, value: object) -> object:
    """Read an object of counters; msgspec calls it for a class that it does not know."""
    counters: dict[str, int] = kind(msgspec.convert(value, dict[str, Count]))
    if not (issubclass(kind, Counters) and counters.keys() >= set(kind.required)):
        raise ValueError("a counter is missing")
    return counters
