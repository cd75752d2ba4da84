"""Properties as the engine's protocol carries them, and as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import json_format, struct_pb2

from tests.engine.cloud.account import Properties

UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What the protocol puts for a value that is not known yet."""
SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  # the protocol's mark, no secret
OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"


def plain(struct: struct_pb2.Struct | None) -> Properties:
    """Return a message as plain values: nothing is wrapped, and whole numbers are integers again."""
    if struct is None:
        return {}
    return dict(_plain(json_format.MessageToDict(struct)))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.get(SIGNATURE) in (SECRET, OUTPUT):
            return _plain(value.get("value", UNKNOWN))
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def struct_of(value: Properties) -> struct_pb2.Struct:
    """Return plain values as a message."""
    message = struct_pb2.Struct()
    message.update({name: entry for name, entry in value.items() if entry is not None})
    return message


def secret(value: object) -> Properties:
    return {SIGNATURE: SECRET, "value": value}
