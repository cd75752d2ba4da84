"""What a pod's status amounts to; light, as the guest's agent reads it as well as the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from node_twin.jsontypes import JsonObject, JsonValue

ENDED: Final = ("Succeeded", "Failed")


def phase_of(pod: JsonObject) -> str:
    status = cast("Mapping[str, str]", pod.get("status") or {})
    return status.get("phase", "Pending")


def has_ended(pod: JsonObject | None) -> bool:
    """Return whether a pod has run to its end, or is not there any more."""
    return pod is None or phase_of(pod) in ENDED


def is_ready(pod: JsonObject) -> bool:
    status = cast("Mapping[str, Sequence[Mapping[str, str]]]", pod.get("status") or {})
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions") or ()
    )


def start_error(pod: JsonObject) -> str:
    """Return why a container of the pod could not even be started; empty where none failed so."""
    status = cast(
        "Mapping[str, Sequence[Mapping[str, Mapping[str, Mapping[str, str]]]]]", pod.get("status") or {}
    )
    for container in status.get("containerStatuses") or ():
        ended = (container.get("lastState") or {}).get("terminated") or {}
        if ended.get("reason") == "StartError":
            return ended.get("message", "no message")
    return ""


def failures_of(pod: JsonObject | None) -> dict[str, str]:
    """Return why each container of the pod that failed did so, by name; the pod's own reason under ``.

    A container that failed and was started again counts.
    """
    status = cast("Mapping[str, Sequence[Mapping[str, JsonValue]]]", (pod or {}).get("status") or {})
    found = {}
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        for state in ("state", "lastState"):
            ended = cast(
                "Mapping[str, str | int] | None",
                cast("Mapping[str, JsonValue]", container.get(state) or {}).get("terminated"),
            )
            if ended and ended["exitCode"] != 0:
                found[str(container["name"])] = _why(ended)
                break
    if pod is not None and not found and phase_of(pod) == "Failed":  # its volumes could not be made
        found[""] = str(status.get("message") or "failed without a reason")
    return found


def _why(ended: Mapping[str, str | int]) -> str:
    code = int(ended["exitCode"])
    if ended.get("reason") == "StartError":
        return f"could not be started: {ended.get('message') or 'no message'}"
    if ended.get("reason") == "OOMKilled":
        return "was killed, out of memory"
    return f"ended by signal {code - 128}" if code > 128 else f"ended with status {code}"


def restarts_of(pod: JsonObject | None) -> int:
    """Return how often the pod's containers have been started again."""
    status = cast("Mapping[str, Sequence[Mapping[str, int]]]", (pod or {}).get("status") or {})
    return sum(entry.get("restartCount", 0) for entry in status.get("containerStatuses") or ())
