"""Asking the node what Kubernetes does not say, and doing to it what happens to nodes."""

from __future__ import annotations

from typing import cast

import httpx

from local_cluster.errors import NodeError
from node_twin.jsontypes import JsonObject


class NodeControl:
    """The guest's own channel, on a port of the host's loopback (`local_cluster.node.guest`)."""

    def __init__(self, port: int) -> None:
        # What it waits for, it waits for by its own clock, which may be slow.
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=httpx.Timeout(None))

    def close(self) -> None:
        self._client.close()

    def cgroups(self) -> dict[str, dict[str, str]]:
        """Return the knobs of every pod cgroup (`node_twin.guest.cgrouptree`)."""
        return cast("dict[str, dict[str, str]]", self._ask("GET", "/cgroups"))

    def cpu(self) -> JsonObject:
        """Return a look at who took how much of the node's CPU (`local_cluster.node.cpu`)."""
        return self._ask("GET", "/cpu")

    def restart(self, program: str) -> None:
        """Kill a program of the node and start it again: kubelet, containerd, kube-proxy or coredns."""
        self._ask("POST", "/restart", {"program": program})

    def exact(self, *, on: bool) -> None:
        """Have an emulated node's clock count instructions alone, idle or not, until told otherwise."""
        self._ask("POST", "/exact", {"on": on})

    def change_volume(self, command: str) -> str:
        """Send the volume's server a command and return its answer."""
        return cast(str, self._ask("POST", "/volume", {"command": command})["answer"])

    def _ask(self, method: str, path: str, body: JsonObject | None = None) -> JsonObject:
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise NodeError(f"the node does not answer {method} {path}: {error}") from error
        if not answer.is_success:
            raise NodeError(f"{method} {path} on the node: {answer.status_code} {answer.text}")
        return cast(JsonObject, answer.json())
