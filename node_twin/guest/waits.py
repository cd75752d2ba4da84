"""Wait for pods inside the guest, by its own clock, and without polling where the store can tell."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from drcio_controller.kube.jsontypes import text_at
from drcio_controller.testing.store import PodStore, Resource
from node_twin.guest.sampler import moved_bytes
from node_twin.jsontypes import JsonObject
from node_twin.podstatus import has_ended, is_ready, phase_of, start_error

_LOOK_EVERY_S: Final = 0.05
_LOOK_FOR_FIRST_EVERY_S: Final = 0.2
"""While the pod still starts: the clock leaps from look to look there, and each takes CPU."""

STATES: Final[Mapping[str, Callable[[JsonObject | None], bool]]] = {
    "ready": lambda pod: pod is None or has_ended(pod) or is_ready(pod) or bool(start_error(pod)),
    "begun": lambda pod: pod is None or phase_of(pod) != "Pending",
    "ended": has_ended,
    "gone": lambda pod: pod is None,
}
"""What can be waited for, and when the waiting is over, for better or for worse."""


def find_pod(store: PodStore, name: str) -> JsonObject | None:
    _, pods = store.all(Resource.PODS)
    return next((pod for pod in pods if text_at(pod, "metadata", "name") == name), None)


def await_pod(store: PodStore, name: str, state: str, timeout_s: float | None) -> JsonObject:
    """Wait until a pod has come to a state; return whether it has, and the pod as it is then.

    Without a time-out it waits for as long as whoever asked does.
    """
    over = STATES[state]
    changed = threading.Event()
    unsubscribe = store.subscribe(changed.set)
    deadline_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
    try:
        while not over(pod := find_pod(store, name)):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return {"over": False, "pod": pod}
            changed.wait(min(left_s, threading.TIMEOUT_MAX))
            changed.clear()
        return {"over": True, "pod": pod}
    finally:
        unsubscribe()


def await_bytes(
    store: PodStore, name: str, folder_of: Callable[[str], Path | None], size_bytes: int
) -> JsonObject:
    """Wait until a pod has read and written so much, or has ended."""
    while True:
        folder = folder_of(name)
        moved = 0 if folder is None else moved_bytes(folder)
        if moved >= size_bytes or has_ended(find_pod(store, name)):
            return {"bytes": moved, "t_s": time.monotonic()}
        time.sleep(_LOOK_EVERY_S if moved else _LOOK_FOR_FIRST_EVERY_S)
