"""Ask the API server, patiently: one that is being replaced is back within half a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from drcio_controller.kube import errors as kube
from drcio_controller.kube.client import KubeClient
from drcio_controller.kube.endpoint import Endpoint
from drcio_controller.kube.jsontypes import JsonObject
from experiments.job.errors import ApiRefused

_ATTEMPTS: Final = 6
_FIRST_PAUSE_S: Final = 1.0
"""Doubled after each failure: half a minute in all, in which an API server is replaced."""


class Api:
    """One API server, as the Job's account."""

    def __init__(self, endpoint: Endpoint, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = KubeClient(endpoint)
        self._sleep = sleep

    def get(self, path: str) -> JsonObject:
        """Return what is at a path; raises ApiRefused when there is no answer, or none that will change."""
        return self._patiently("GET", lambda: self._client.get(path))

    def merge(self, path: str, patch: JsonObject) -> JsonObject:
        """Merge a patch into the object at a path; raises ApiRefused likewise."""
        return self._patiently("PATCH", lambda: self._client.merge(path, patch))

    def _patiently(self, what: str, ask: Callable[[], JsonObject]) -> JsonObject:
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                return ask()
            except kube.EndpointError as error:
                raise ApiRefused(str(error), hint=error.hint) from error
            except kube.ApiRefused as error:
                problem = str(error)
                if not isinstance(error, kube.Overloaded):
                    break  # it will not change its mind
            except kube.KubeError as error:
                problem = str(error)
        raise ApiRefused(f"{what} failed: {problem}")
