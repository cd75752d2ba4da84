"""Pick a policy, and the engine that it is meant to run on."""

from __future__ import annotations

from drcio_controller.config import Config, Engine, PolicyName
from drcio_controller.law.decision import DevicePolicy
from drcio_controller.law.drcio import DrcioPolicy
from drcio_controller.law.static import CapPolicy, StaticPolicy
from drcio_controller.law.stepwise import StepPolicy


def make_policy(config: Config) -> DevicePolicy:
    """Return a new policy for one device."""
    match config.policy:
        case PolicyName.IOMAX:
            return CapPolicy(config.iomax_percent, max(entry.weight for entry in config.classes.values()))
        case PolicyName.DRCIO:
            return DrcioPolicy(config)
        case PolicyName.STEP:
            return StepPolicy()
        case _:
            return StaticPolicy()


def engine_of(config: Config) -> Engine:
    """Return the engine to use: the configured one, else the policy's own."""
    if config.engine is not Engine.AUTO:
        return config.engine
    match config.policy:
        case PolicyName.BFQ:
            return Engine.BFQ
        case PolicyName.IOCOST_STATIC:
            return Engine.IOCOST
        case PolicyName.WEIGHT_ONLY | PolicyName.STEP | PolicyName.IOMAX:
            return Engine.NONE
        case _:
            return Engine.AUTO
