"""A small client of the Kubernetes API."""

from __future__ import annotations

import json
import ssl
import time
from pathlib import Path
from typing import Any, Final

import httpx

Object = dict[str, Any]
"""A Kubernetes object as JSON."""

MERGE: Final = "application/merge-patch+json"


class Kube:
    """Requests with an administrator's token; safe to use from several threads."""

    def __init__(self, address: str, token: str, authority: Path) -> None:
        context = ssl.create_default_context(cafile=str(authority))
        self.client = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {token}"},
            verify=context,
            timeout=httpx.Timeout(30.0, read=60.0),
            limits=httpx.Limits(max_connections=32),
        )

    def close(self) -> None:
        self.client.close()

    def ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> Object | None:
        """Return an object or a list; None where there is none."""
        response = self.client.get(path)
        while response.status_code == 429:
            # A kind that was defined a moment ago is not served yet.
            time.sleep(0.2)
            response = self.client.get(path)
        if response.status_code == 404:
            return None
        response.raise_for_status()
        return dict(response.json())

    def items(self, path: str) -> list[Object]:
        """Return a list's items; none where the kind is not defined."""
        found = self.get(path)
        return list(found["items"]) if found else []

    def create(self, path: str, body: Object) -> Object:
        response = self.client.post(path, json=body)
        response.raise_for_status()
        return dict(response.json())

    def patch(self, path: str, body: Object, kind: str = MERGE) -> Object | None:
        """Change an object; None where it is gone."""
        response = self.client.patch(path, content=json.dumps(body), headers={"Content-Type": kind})
        if response.status_code == 404:
            return None
        response.raise_for_status()
        return dict(response.json())

    def delete(self, path: str, body: Object | None = None) -> None:
        """Delete an object; one that is gone, or another of the same name (409), is left alone."""
        response = self.client.request("DELETE", path, json=body or {})
        if response.status_code not in (404, 409):
            response.raise_for_status()
