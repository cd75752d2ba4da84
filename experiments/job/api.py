"""Ask the API server, patiently: one that is being replaced is back within half a minute."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Final

import urllib3

from drcio_controller.kube.endpoint import Endpoint
from drcio_controller.kube.errors import EndpointError
from experiments.job.errors import ApiRefused
from experiments.records.jsonfields import JsonObject, JsonValue

_CONNECT_S: Final = 5.0
_READ_S: Final = 30.0
_ATTEMPTS: Final = 6
_FIRST_PAUSE_S: Final = 1.0
"""Doubled after each failure: half a minute in all, in which an API server is replaced."""


class Api:
    """One API server, as the Job's account."""

    def __init__(self, endpoint: Endpoint, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._endpoint = endpoint
        self._sleep = sleep
        self._pool = urllib3.PoolManager(
            retries=False,
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S),
            ca_certs=str(endpoint.ca_file) if endpoint.ca_file else None,
        )

    def request(self, method: str, path: str, body: JsonObject | None = None) -> JsonObject:
        """Return the answer's object; raises ApiRefused when there is none, or none that will change."""
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                answer = self._pool.request(
                    method,
                    f"{self._endpoint.url}{path}",
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
        raise ApiRefused(f"{method} failed: {problem}")

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Content-Type": "application/merge-patch+json"}
        try:
            token = self._endpoint.bearer_token()
        except EndpointError as error:
            raise ApiRefused(str(error), hint=error.hint) from error
        return {**headers, "Authorization": f"Bearer {token}"} if token else headers


def _json(body: bytes) -> JsonValue:
    try:
        document: JsonValue = json.loads(body)
    except ValueError:
        return None
    return document
