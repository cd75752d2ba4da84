"""What is compared on each mix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from drcio_controller.config import DEFAULT_CLASSES, Config, Engine, PolicyName, VolumeProfile, parse_policy
from drcio_controller.engines.iocost import IOPS_HEADROOM, CostModel
from drcio_controller.law.decision import Decision, DevicePolicy, View
from drcio_controller.law.registry import make_policy

ALONE: Final = "alone"
NONE: Final = "none"
LAW: Final = "drcio"
FIXED: Final = ("iomax-10", "iomax-25", "iomax-50", "iomax-75", "iocost-100", "iocost-70")
ARMS: Final = (ALONE, NONE, LAW, *FIXED)


@dataclass(frozen=True, slots=True)
class FixedCost:
    """The classes' weights and iocost with the volume's own figures, or a part of them."""

    percent: int

    def decide(self, view: View) -> Decision:
        model = CostModel.stated(view.profile).faster(self.percent / 100)
        return Decision(state="fixed", reason=f"a model of {self.percent}% of the volume", model=model)


def agent_config(arm: str, profile: VolumeProfile) -> Config | None:
    """Return the configuration under which the shipped agent carries an arm out; None for no agent.

    The agent's fixed budget doubles the IOPS that it is given (`CostModel.doubled`), so half of them are.
    """
    kind, _, percent = arm.partition("-")
    match kind:
        case "drcio":
            return Config(volumes=(profile,))
        case "iomax":
            policy, most = parse_policy(arm)
            return Config(policy=policy, iomax_percent=most, volumes=(profile,))
        case "iocost":
            share = int(percent) / 100
            part = replace(
                profile,
                iops=round(profile.iops * share / IOPS_HEADROOM),
                mib_s=profile.mib_s * share,
            )
            return Config(policy=PolicyName.IOCOST_STATIC, volumes=(part,))
        case _:
            return None


def policy_of(arm: str) -> tuple[DevicePolicy | None, Engine]:
    """Return an arm's policy, and the engine that it runs on."""
    kind, _, percent = arm.partition("-")
    match kind:
        case "drcio":
            return make_policy(Config()), Engine.IOCOST
        case "iomax":
            policy, most = parse_policy(arm)
            config = Config(policy=policy, iomax_percent=most, classes=DEFAULT_CLASSES)
            return make_policy(config), Engine.NONE
        case "iocost":
            return FixedCost(int(percent)), Engine.IOCOST
        case _:
            return None, Engine.NONE
