"""Tell people about a pod whose weight stopped acting, or acts again: an Event and a log line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from drcio_controller.kube.events import EventType
from drcio_controller.kube.pod import Pod
from drcio_controller.status import Effect, NodeStatus

log = logging.getLogger(__name__)


class Recorder(Protocol):
    """Who sends Events."""

    def notify(self, pod: Pod, kind: EventType, reason: str, message: str) -> None: ...


class Notices:
    """Remember what was said of each pod and device, and say only what is new."""

    def __init__(self, recorder: Recorder, pods: Callable[[], Mapping[str, Pod]]) -> None:
        self._recorder = recorder
        self._pods = pods
        self._said: dict[tuple[str, str], Effect] = {}

    def look(self, status: NodeStatus) -> None:
        """Compare a status with what was said last; idle is no news, it says nothing about the weight."""
        known = {pod.uid for pod in status.pods}
        self._said = {key: effect for key, effect in self._said.items() if key[0] in known}
        for pod in status.pods:
            if pod.weight is None:
                continue
            for entry in pod.devices:
                key = (pod.uid, entry.device)
                if entry.effect is Effect.IDLE or self._said.get(key, Effect.EFFECTIVE) is entry.effect:
                    continue
                self._said[key] = entry.effect
                self._say(pod.uid, f"{pod.namespace}/{pod.name}", entry.device, entry.effect, entry.why)

    def _say(self, uid: str, name: str, device: str, effect: Effect, why: str) -> None:
        if effect is Effect.INERT:
            log.warning("weight_inert pod=%s device=%s why=%r", name, device, why)
            kind, reason, message = EventType.WARNING, "IOWeightInert", f"I/O weight on {device}: {why}"
        else:
            log.info("weight_effective pod=%s device=%s", name, device)
            kind, reason, message = (
                EventType.NORMAL,
                "IOWeightEffective",
                f"I/O weight acts on {device} again",
            )
        pod = self._pods().get(uid)
        if pod is not None:
            self._recorder.notify(pod, kind, reason, message)
