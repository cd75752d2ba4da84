"""Manifests for these tests."""

from typing import Any

from drcio_controller.kube.jsontypes import Json, JsonObject

UID = "6f9a2f6e-4c1b-4a55-9d0c-0a52e9f0f3a1"


def container(name: str = "main", **fields: Any) -> JsonObject:
    return {"name": name, "image": "example.test/app:1", "command": ["run"], **fields}


def resources(requests: dict[str, Json] | None = None, limits: dict[str, Json] | None = None) -> JsonObject:
    return {"requests": requests or {}, "limits": limits or {}}


def pod(*containers: JsonObject, **spec: Json) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "api", "namespace": "shop", "uid": UID, "labels": {"app": "api"}},
        "spec": {"containers": list(containers or (container(),)), "nodeName": "n1", **spec},
    }
