"""The two nodes: the twin with the stand-in kubelet, and the local cluster's."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, cast

from local_cluster.cluster import Cluster
from node_twin.host.twin import Twin
from node_twin.layout import NAMESPACE, NODE_NAME
from tests.cluster.observe import Tree
from tests.cluster.pods import CLAIM, CONFIG, CONFIG_MAP

Object = dict[str, Any]


@dataclass
class StandIn:
    """The twin's own small kubelet."""

    twin: Twin
    patience_s: float = 900.0

    def prepare(self) -> None:
        self.twin.put_config_map(CONFIG_MAP, CONFIG)

    def create(self, manifest: Object) -> None:
        given = copy.deepcopy(manifest)
        given["spec"]["nodeName"] = NODE_NAME
        self.twin.create_pod(given)

    def pod(self, name: str) -> Object | None:
        return cast("Object | None", self.twin.pod(name))

    def log(self, name: str) -> str:
        return self.twin.log(name)

    def delete(self, name: str) -> None:
        self.twin.delete_pod(name)

    def cgroups(self) -> Tree:
        return cast(Tree, self.twin.cgroups())


@dataclass
class Real:
    """The real kubelet, asked as everybody asks: by way of the API server."""

    cluster: Cluster
    image: str
    """Has a shell, coreutils and python3."""
    patience_s: float = 1800.0

    def prepare(self) -> None:
        kube = self.cluster.plane.kube
        space = f"/api/v1/namespaces/{NAMESPACE}"
        kube.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        kube.create(f"{space}/configmaps", {"metadata": {"name": CONFIG_MAP}, "data": CONFIG})
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        kube.create(f"{space}/persistentvolumeclaims", {"metadata": {"name": CLAIM}, "spec": claim})

    def create(self, manifest: Object) -> None:
        given = copy.deepcopy(manifest)
        for kind in ("containers", "initContainers"):
            for container in given["spec"].get(kind, ()):
                container |= {"image": self.image, "imagePullPolicy": "Never"}
        self.cluster.plane.kube.create(f"/api/v1/namespaces/{NAMESPACE}/pods", given)

    def pod(self, name: str) -> Object | None:
        return self.cluster.plane.kube.get(self._path(name))

    def log(self, name: str) -> str:
        return self.cluster.plane.kube.client.get(f"{self._path(name)}/log").raise_for_status().text

    def delete(self, name: str) -> None:
        self.cluster.plane.kube.delete(self._path(name))

    def cgroups(self) -> Tree:
        return self.cluster.node.control.cgroups()

    def _path(self, name: str) -> str:
        return f"/api/v1/namespaces/{NAMESPACE}/pods/{name}"
