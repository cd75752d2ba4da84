"""Label and field selectors, as the API server reads them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drcio_controller.kube.jsontypes import JsonObject, object_at, text_at

FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "status.phase",
    "involvedObject.name",
    "involvedObject.uid",
    "reason",
)
"""The fields that can be selected by: those of Pods, and the useful ones of Events."""

_SET = re.compile(r"(?P<key>\S+)\s+(?P<operator>in|notin)\s+\((?P<values>[^()]*)\)")
_KEY = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_./]*")
_EQUALITY = re.compile(rf"(?P<key>{_KEY.pattern})\s*(?P<operator>!=|==|=)\s*(?P<value>[^=!\s]*)")
_OUTER_COMMA = re.compile(r",(?![^(]*\))")


class SelectorError(ValueError):
    """A selector cannot be read."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a selector; `value` is None where the key is absent."""

    key: str
    holds: Callable[[str | None], bool]


Selector = tuple[Requirement, ...]


def parse_label_selector(text: str) -> Selector:
    """Return the requirements in a label selector: `a=b`, `a!=b`, `a in (b,c)`, `a`, `!a`."""
    return tuple(_label_term(term.strip()) for term in _OUTER_COMMA.split(text) if term.strip())


def parse_field_selector(text: str) -> Selector:
    """Return the requirements in a field selector: `field=value` and `field!=value`."""
    requirements = []
    for term in filter(None, text.split(",")):
        requirement = _equality(term)
        if requirement is None or requirement.key not in FIELDS:
            raise SelectorError(
                f"field selector {term!r}: expected FIELD=VALUE with one of {', '.join(FIELDS)}"
            )
        requirements.append(requirement)
    return tuple(requirements)


def matches(document: JsonObject, labels: Selector, fields: Selector) -> bool:
    """Return whether an object is selected by both selectors."""
    have = object_at(document, "metadata", "labels")
    return all(term.holds(_text(have, term.key)) for term in labels) and all(
        term.holds(text_at(document, *term.key.split("."))) for term in fields
    )


def _text(mapping: Mapping[str, object], key: str) -> str | None:
    value = mapping.get(key)
    return value if isinstance(value, str) else None


def _label_term(term: str) -> Requirement:
    if found := _SET.fullmatch(term):
        values = frozenset(value.strip() for value in found["values"].split(","))
        if found["operator"] == "in":
            return Requirement(found["key"], lambda value: value in values)
        return Requirement(found["key"], lambda value: value not in values)
    if (requirement := _equality(term)) is not None:
        return requirement
    if term.startswith("!") and _KEY.fullmatch(term[1:]):
        return Requirement(term[1:], lambda value: value is None)
    if _KEY.fullmatch(term):
        return Requirement(term, lambda value: value is not None)
    raise SelectorError(f"label selector {term!r}: expected a=b, a!=b, a in (b,c), a notin (b,c), a or !a")


def _equality(term: str) -> Requirement | None:
    found = _EQUALITY.fullmatch(term)
    if found is None:
        return None
    expected, wanted = found["value"], found["operator"] != "!="
    return Requirement(found["key"], lambda value: (value == expected) is wanted)
