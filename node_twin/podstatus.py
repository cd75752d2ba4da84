"""What a pod's status amounts to; light, as the guest's agent reads it as well as the host."""

from __future__ import annotations

from typing import Final, cast

from drcio_controller.kube.jsontypes import object_at, objects_at, text_at
from node_twin.jsontypes import JsonObject

ENDED: Final = ("Succeeded", "Failed")


def phase_of(pod: JsonObject) -> str:
    return text_at(pod, "status", "phase") or "Pending"


def has_ended(pod: JsonObject | None) -> bool:
    """Return whether a pod has run to its end, or is not there any more."""
    return pod is None or phase_of(pod) in ENDED


def is_ready(pod: JsonObject) -> bool:
    return any(
        text_at(condition, "type") == "Ready" and text_at(condition, "status") == "True"
        for condition in objects_at(pod, "status", "conditions")
    )


def start_error(pod: JsonObject) -> str:
    """Return why a container of the pod could not even be started; empty where none failed so."""
    for container in objects_at(pod, "status", "containerStatuses"):
        if text_at(container, "lastState", "terminated", "reason") == "StartError":
            return text_at(container, "lastState", "terminated", "message") or "no message"
    return ""


def failures_of(pod: JsonObject | None) -> dict[str, str]:
    """Return why each container of the pod that failed did so, by name; the pod's own reason under ``.

    A container that failed and was started again counts.
    """
    if pod is None:
        return {}
    found = {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in objects_at(pod, "status", kind):
            for state in ("state", "lastState"):
                ended = object_at(container, state, "terminated")
                if ended.get("exitCode", 0) != 0:
                    found[text_at(container, "name")] = _why(ended)
                    break
    if not found and phase_of(pod) == "Failed":  # its volumes could not be made
        found[""] = text_at(pod, "status", "message") or "failed without a reason"
    return found


def _why(ended: JsonObject) -> str:
    code = cast(int, ended["exitCode"])
    if text_at(ended, "reason") == "StartError":
        return f"could not be started: {text_at(ended, 'message') or 'no message'}"
    if text_at(ended, "reason") == "OOMKilled":
        return "was killed, out of memory"
    return f"ended by signal {code - 128}" if code > 128 else f"ended with status {code}"


def restarts_of(pod: JsonObject | None) -> int:
    """Return how often the pod's containers have been started again."""
    entries = objects_at(pod or {}, "status", "containerStatuses")
    return sum(cast(int, entry.get("restartCount", 0)) for entry in entries)
