"""Read and patch one ConfigMap; the Job's account may do nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import urllib3

from drcio_controller.kube.endpoint import Endpoint
from drcio_controller.kube.errors import EndpointError
from experiments.job.errors import NotPublished
from experiments.jsonfields import JsonObject, JsonValue

_CONNECT_S: Final = 5.0
_READ_S: Final = 30.0
_ATTEMPTS: Final = 6
_FIRST_PAUSE_S: Final = 1.0
"""Doubled after each failure: half a minute in all, in which an API server is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A ConfigMap's two parts."""

    data: Mapping[str, str] = field(default_factory=dict)
    binary: Mapping[str, str] = field(default_factory=dict)
    """Base64, as the API has it."""


class ConfigMap:
    """One ConfigMap by name."""

    def __init__(
        self, endpoint: Endpoint, namespace: str, name: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._endpoint = endpoint
        self._where = f"ConfigMap {namespace}/{name}"
        self._url = f"{endpoint.url}/api/v1/namespaces/{namespace}/configmaps/{name}"
        self._sleep = sleep
        self._pool = urllib3.PoolManager(
            retries=False,
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S),
            ca_certs=str(endpoint.ca_file) if endpoint.ca_file else None,
        )

    def read(self) -> Contents:
        """Return what it holds; raises NotPublished."""
        document = self._request("GET", None)
        return Contents(data=_texts(document.get("data")), binary=_texts(document.get("binaryData")))

    def patch(
        self, *, data: Mapping[str, str | None] | None = None, binary: Mapping[str, str | None] | None = None
    ) -> None:
        """Merge entries into it, None removes one; raises NotPublished."""
        self._request("PATCH", {"data": dict(data or {}), "binaryData": dict(binary or {})})

    def _request(self, method: str, body: JsonObject | None) -> JsonObject:
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                answer = self._pool.request(
                    method,
                    self._url,
                    headers=self._headers(),
                    body=None if body is None else json.dumps(body).encode(),
                )
            except urllib3.exceptions.HTTPError as error:
                problem = str(error)
                continue
            document = _json(answer.data)
            if 200 <= answer.status < 300 and isinstance(document, Mapping):
                return document
            message = document.get("message") if isinstance(document, Mapping) else None
            problem = f"{answer.status} {message or 'with no message'}"
            if answer.status not in (429, *range(500, 600)):
                break  # it will not change its mind
        raise NotPublished(
            f"{self._where}: {method} failed: {problem}",
            hint="the program makes the ConfigMap and a Role that allows get and patch of it before the Job",
        )

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Content-Type": "application/merge-patch+json"}
        try:
            token = self._endpoint.bearer_token()
        except EndpointError as error:
            raise NotPublished(f"{self._where}: {error}", hint=error.hint) from error
        return {**headers, "Authorization": f"Bearer {token}"} if token else headers


def _json(body: bytes) -> JsonValue:
    try:
        document: JsonValue = json.loads(body)
    except ValueError:
        return None
    return document


def _texts(value: JsonValue) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {name: text for name, text in value.items() if isinstance(text, str)}
