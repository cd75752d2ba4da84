"""Read and patch one ConfigMap, in which the Job leaves its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from drcio_controller.kube.jsontypes import Json, JsonObject
from experiments.job.api import Api
from experiments.job.errors import ApiRefused, NotPublished

_HINT: Final = "the program makes the ConfigMap and a Role that allows get and patch of it before the Job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A ConfigMap's two parts."""

    data: Mapping[str, str] = field(default_factory=dict)
    binary: Mapping[str, str] = field(default_factory=dict)
    """Base64, as the API has it."""


class ConfigMap:
    """One ConfigMap by name."""

    def __init__(self, api: Api, namespace: str, name: str) -> None:
        self._api = api
        self._where = f"ConfigMap {namespace}/{name}"
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"

    def read(self) -> Contents:
        """Return what it holds; raises NotPublished."""
        document = self._asked(lambda: self._api.get(self._path))
        return Contents(data=_texts(document.get("data")), binary=_texts(document.get("binaryData")))

    def patch(
        self, *, data: Mapping[str, str | None] | None = None, binary: Mapping[str, str | None] | None = None
    ) -> None:
        """Merge entries into it, None removes one; raises NotPublished."""
        patch: JsonObject = {"data": {**(data or {})}, "binaryData": {**(binary or {})}}
        self._asked(lambda: self._api.merge(self._path, patch))

    def _asked(self, ask: Callable[[], JsonObject]) -> JsonObject:
        try:
            return ask()
        except ApiRefused as error:
            raise NotPublished(f"{self._where}: {error}", hint=error.hint or _HINT) from error


def _texts(value: Json | None) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {name: text for name, text in value.items() if isinstance(text, str)}
