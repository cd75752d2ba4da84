"""One stack, from its settings to its outputs."""

from __future__ import annotations

import pulumi

from components.sharing import PlatformMark
from stacks.changes import refuse_impossible
from stacks.deployed import read_deployed
from stacks.images import resolve_images
from stacks.outputs import outputs_of
from stacks.platform import build_platform
from stacks.scenario import parts_of
from stacks.settings import Settings
from stacks.workloads import build_workloads


def build(settings: Settings) -> dict[str, pulumi.Input[object]]:
    """Declare every resource of a stack and return its outputs.

    Raises:
        ConfigError: the settings ask for a change that a running stack cannot make.
    """
    deployed = read_deployed(settings.stack)
    refuse_impossible(settings, deployed)
    made: list[pulumi.Resource] = []
    pulumi.runtime.register_stack_transformation(lambda args: made.append(args.resource))
    parts = parts_of(settings)
    platform = build_platform(settings, deployed)
    images = resolve_images(settings, parts, platform.shared_images)
    workloads = build_workloads(settings, parts, platform, images)
    if platform.owned:
        PlatformMark("platform-mark", settings.workload_namespace, platform.where, tuple(made))
    return outputs_of(settings, platform, images, workloads)
