"""Read a scoring request's body."""

from __future__ import annotations

import json

from hp_service.errors import RequestError

MAX_BODY_BYTES = 64 * 1024
MAX_IDS = 64


def parse_ids(body: bytes, reviews: int) -> list[int]:
    """Return the ids of `{"id": 7}` or `{"ids": [7, 8]}`. Raises RequestError with an HTTP status."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("the body is not JSON", status=400, code="not_json") from error
    if not isinstance(document, dict):
        raise RequestError(f"the body is a JSON {_kind(document)}, expected an object")
    unknown = sorted(document.keys() - {"id", "ids"})
    if unknown:
        raise RequestError(f"unknown field {unknown[0]!r}, expected 'id' or 'ids'")
    if len(document) != 1:
        raise RequestError("expected exactly one of 'id' and 'ids'")
    ids = document["ids"] if "ids" in document else [document["id"]]
    if not isinstance(ids, list):
        raise RequestError(f"'ids' is a JSON {_kind(ids)}, expected an array of whole numbers")
    if not 1 <= len(ids) <= MAX_IDS:
        raise RequestError(f"'ids' has {len(ids)} entries, expected 1 to {MAX_IDS}")
    for entry in ids:
        # bool is a subclass of int
        if type(entry) is not int:
            raise RequestError(f"an id is a JSON {_kind(entry)}, expected a whole number")
        if not 0 <= entry < reviews:
            raise RequestError(
                f"id {entry} does not exist, expected 0 to {reviews - 1}", status=404, code="unknown_id"
            )
    return ids


def _kind(value: object) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")
