"""The Namespace as the controller sees it: its name and the labels that are its pods' defaults."""

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import ObjectMalformed
from .jsontypes import JsonObject, text_at
from .pod import NAME, kept_labels


@dataclass(frozen=True, slots=True)
class Namespace:
    """What the controller needs to know of a namespace."""

    uid: str
    name: str
    labels: Mapping[str, str]


def parse_namespace(document: JsonObject) -> Namespace:
    """Return the namespace in `document`, a `v1.Namespace` or its metadata alone.

    Raises ObjectMalformed where it has no name or no uid.
    """
    name, uid = text_at(document, "metadata", "name"), text_at(document, "metadata", "uid")
    if not NAME.fullmatch(name) or not uid:
        raise ObjectMalformed(f"namespace {name[:80]!r}: metadata.name and metadata.uid are needed")
    return Namespace(uid=uid, name=name, labels=kept_labels(document))
