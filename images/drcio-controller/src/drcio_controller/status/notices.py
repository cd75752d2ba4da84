"""Notify people of what stopped or acts again: an Event on the pods that it concerns, and a log line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from drcio_controller.kube.events import EventType
from drcio_controller.kube.pod import Pod
from drcio_controller.law.roles import Role
from drcio_controller.status.model import DeviceStatus, Effect, NodeStatus

log = logging.getLogger(__name__)


class Recorder(Protocol):
    """Who sends Events."""

    def notify(self, pod: Pod, kind: EventType, reason: str, message: str) -> None: ...


class Notices:
    """Remember what was reported of each pod and device, and report only what is new."""

    def __init__(self, recorder: Recorder, pods: Callable[[], Mapping[str, Pod]]) -> None:
        self._recorder = recorder
        self._pods = pods
        self._reported: dict[tuple[str, str], Effect] = {}
        self._withdrawn: set[str] = set()

    def look(self, status: NodeStatus) -> None:
        """Compare a status with what was reported last; idle is no news, it shows nothing of the weight."""
        self._look_at_weights(status)
        for device in status.devices:
            if bool(device.withdrawn) != (device.device in self._withdrawn):
                self._report_withdrawn(device, status)
        # A device that left and comes back begins anew.
        self._withdrawn = {device.device for device in status.devices if device.withdrawn}

    def _look_at_weights(self, status: NodeStatus) -> None:
        known = {pod.uid for pod in status.pods}
        self._reported = {key: effect for key, effect in self._reported.items() if key[0] in known}
        for pod in status.pods:
            if pod.weight is None:
                continue
            for entry in pod.devices:
                key = (pod.uid, entry.device)
                if entry.effect is Effect.IDLE or self._reported.get(key, Effect.EFFECTIVE) is entry.effect:
                    continue
                self._reported[key] = entry.effect
                self._report_effect(
                    pod.uid, f"{pod.namespace}/{pod.name}", entry.device, entry.effect, entry.why
                )

    def _report_effect(self, uid: str, name: str, device: str, effect: Effect, why: str) -> None:
        if effect is Effect.INERT:
            log.warning("weight_inert pod=%s device=%s why=%r", name, device, why)
            self._notify(uid, EventType.WARNING, "IOWeightInert", f"I/O weight on {device}: {why}")
        else:
            log.info("weight_effective pod=%s device=%s", name, device)
            self._notify(uid, EventType.NORMAL, "IOWeightEffective", f"I/O weight acts on {device} again")

    def _report_withdrawn(self, device: DeviceStatus, status: NodeStatus) -> None:
        concerned = [
            pod.uid
            for pod in status.pods
            if any(entry.device == device.device and entry.role == Role.PROTECTED for entry in pod.devices)
        ]
        if device.withdrawn:
            log.warning(
                "control_withdrawn device=%s name=%s why=%r", device.device, device.name, device.withdrawn
            )
            kind, reason = EventType.WARNING, "IOControlWithdrawn"
            message = f"nobody is held back on {device.device}, as it did not help: {device.withdrawn}"
        else:
            log.info("control_resumed device=%s name=%s", device.device, device.name)
            kind, reason = EventType.NORMAL, "IOControlResumed"
            message = f"lower classes are held back on {device.device} again"
        for uid in concerned:
            self._notify(uid, kind, reason, message)

    def _notify(self, uid: str, kind: EventType, reason: str, message: str) -> None:
        pod = self._pods().get(uid)
        if pod is not None:
            self._recorder.notify(pod, kind, reason, message)
