"""Carry kernel knobs, in their text form, over to the simulated node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drcio_controller.kernel.knob import DEFAULT_KEY, Knob
from experiments.simulator.node import Node

_PAGE_BYTES: Final = 4096
_THAW_STEP_S: Final = 0.001
_THAW_LIMIT_S: Final = 30.0


class SimulatedKnobs:
    """What was written, by knob; a knob that is not wanted any more goes back to the kernel's default."""

    def __init__(self, node: Node, groups: Mapping[str, int]) -> None:
        self._node = node
        self._groups = groups
        self._held: dict[Knob, str] = {}
        self._model: dict[str, str] = {}
        self.writes: dict[str, int] = {}
        self.froze_s = 0.0
        """How long the last writes of io.cost.* took."""

    def reconcile(self, wanted: Mapping[Knob, str]) -> None:
        """Write what differs."""
        began_s, freezes = self._node.now_s, self._node.device().freezes
        for knob in [knob for knob in self._held if knob not in wanted]:
            del self._held[knob]
            self._write(knob, None)
        for knob, value in wanted.items():
            if self._held.get(knob) != value:
                self._held[knob] = value
                self.writes[knob.name] = self.writes.get(knob.name, 0) + 1
                self._write(knob, value)
        if self._node.device().freezes > freezes:
            self.froze_s = self._node.now_s - began_s

    def _write(self, knob: Knob, value: str | None) -> None:
        match knob.name:
            case "io.weight":
                self._weight(knob.file.rpartition("/")[0])
            case "io.max":
                group = self._groups[knob.file.rpartition("/")[0]]
                limits = _settings(value or "")
                self._node.set_limits(
                    group,
                    (_limit(limits.get("rbps")), _limit(limits.get("wbps"))),
                    (_limit(limits.get("riops")), _limit(limits.get("wiops"))),
                )
            case "io.cost.model":
                self._model = _settings(value or "")
                if "io.cost.qos" in {held.name for held in self._held}:
                    self._cost(self._held[Knob("io.cost.qos", knob.key)])
            case "io.cost.qos":
                self._cost(value)
            case _:
                pass  # controllers are always there

    def _weight(self, cgroup: str) -> None:
        """Let the weight for the device go before the default one."""
        entries = {
            knob.key: value
            for knob, value in self._held.items()
            if knob.name == "io.weight" and knob.file.rpartition("/")[0] == cgroup
        }
        default = entries.pop(DEFAULT_KEY, "100")
        self._node.set_weight(self._groups[cgroup], float(next(iter(entries.values()), default)))

    def _cost(self, qos: str | None) -> None:
        settings = _settings(qos or "enable=0")
        read, write = (_coefficients(self._model, direction) for direction in ("r", "w"))
        self._node.set_iocost(
            enable=settings.get("enable") == "1",
            period_s=2 * float(settings.get("rlat", "5000")) / 1e6,
            per_io_s=(read[0], write[0]),
            per_page_s=(read[1], write[1]),
        )
        ends_s = self._node.now_s + _THAW_LIMIT_S
        while self._node.frozen and self._node.now_s < ends_s:
            self._node.run(self._node.now_s + _THAW_STEP_S)


def _settings(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in text.split() if "=" in word)


def _limit(text: str | None) -> float | None:
    return None if text in (None, "max") else float(text)


def _coefficients(model: Mapping[str, str], direction: str) -> tuple[float, float]:
    """Return seconds for each I/O and for each page: the kernel's calc_lcoefs."""
    page_s = _PAGE_BYTES / float(model.get(f"{direction}bps", "1e12"))
    io_s = 1 / float(model.get(f"{direction}randiops", "1e9"))
    return max(0.0, io_s - page_s), page_s
