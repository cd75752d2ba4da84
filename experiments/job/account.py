"""Cut the controller's /status down to what a verdict reads, with pods under their app's name.

The whole of it once a second would outgrow a ConfigMap. One name for an app's pods, because they are
one in the record: the workloads' own counters do not tell in which pod they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from experiments.records.jsonfields import JsonObject, JsonValue, objects

_DEVICE_FIELDS: Final = ("device", "name", "engine", "state", "budget_ratio")
_ON_DEVICE_FIELDS: Final = ("device", "effect", "bytes_read", "bytes_written")


def cut(status: JsonObject, *, namespace: str, apps: Sequence[str]) -> JsonObject | None:
    """Return what matters of a node's status; None where none of the apps' pods is on that node."""
    pods: list[JsonValue] = [
        {
            "name": app,
            "pod": pod.get("name"),
            "weight_set": pod.get("weight_set"),
            "devices": [
                {name: entry.get(name) for name in _ON_DEVICE_FIELDS} for entry in objects(pod.get("devices"))
            ],
        }
        for pod in objects(status.get("pods"))
        if pod.get("namespace") == namespace and (app := app_of(pod.get("name"), apps)) is not None
    ]
    if not pods:
        return None
    return {
        "policy": status.get("policy"),
        "config_digest": status.get("config_digest"),
        "devices": [
            {name: entry.get(name) for name in _DEVICE_FIELDS} for entry in objects(status.get("devices"))
        ],
        "pods": pods,
    }


def config_of(account: JsonObject) -> str | None:
    """Return the digest of the configuration that the controller runs on."""
    digest = account.get("config_digest")
    return digest if isinstance(digest, str) and digest else None


def app_of(pod_name: JsonValue, apps: Sequence[str]) -> str | None:
    """Return the app whose pod has this name: the app's own, or one that its controller lengthened."""
    if not isinstance(pod_name, str):
        return None
    return next((app for app in apps if pod_name == app or pod_name.startswith(f"{app}-")), None)


def moved_bytes(account: JsonObject, app: str) -> dict[str, int]:
    """Return what an app's pods have read and written by the kernel's count, by device "MAJ:MIN"."""
    moved: dict[str, int] = {}
    for pod in objects(account.get("pods")):
        if pod.get("name") != app:
            continue
        for entry in objects(pod.get("devices")):
            device = entry.get("device")
            if isinstance(device, str):
                total = _whole(entry.get("bytes_read")) + _whole(entry.get("bytes_written"))
                moved[device] = moved.get(device, 0) + total
    return moved


def shares_of_devices(accounts: Sequence[JsonObject], app: str) -> dict[str, float]:
    """Return which part of an app's bytes went to each device while it was watched; adds up to 1.

    Empty where the controller never saw the app move a byte.
    """
    if not accounts:
        return {}
    first, last = moved_bytes(accounts[0], app), moved_bytes(accounts[-1], app)
    grown = {device: max(total - first.get(device, 0), 0) for device, total in last.items()}
    total = sum(grown.values())
    return {device: part / total for device, part in grown.items() if part} if total else {}


def weight_of(account: JsonObject, app: str) -> int | None:
    """Return the weight that the first of the app's pods holds."""
    for pod in objects(account.get("pods")):
        weight = pod.get("weight_set")
        if pod.get("name") == app and isinstance(weight, int) and not isinstance(weight, bool):
            return weight
    return None


def _whole(value: JsonValue) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
