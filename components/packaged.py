"""The controller as a component that programs of any language can use: `new drcio.IoController(...)`.

Pulumi makes the package's schema from the annotations and docstrings below (PulumiPlugin.yaml in `package/`),
so these are the documentation that a user of TypeScript or Go reads.
"""

# No postponed annotations: Pulumi's analyzer reads them as they are.
from typing import Final, NotRequired, TypedDict

import pulumi
import yaml

from components import io_controller
from components.kubernetes import Destination
from components.monitors import Monitors, Target
from components.namespace import namespace
from components.observability.resources import Dashboards, Rules
from components.observability.rules import Owner, controller_group
from components.presence import Presence
from drcio_controller.config import Config, dump, parse

PACKAGE: Final = "drcio"
VERSION: Final = "0.1.0"
DEFAULT_NAMESPACE: Final = "drcio-system"


class PriorityClassArgs(TypedDict):
    """What a value of the label drcio.io/priority means."""

    weight: int
    """From 1 to 10000; pods that nobody labelled weigh 100."""
    latency_target: NotRequired[str]
    """Such as p95<100ms: of pods of the class that carry no annotation of their own."""


class VolumeProfileArgs(TypedDict):
    """What a volume was provisioned with."""

    iops: int
    """I/Os a second."""
    mib_s: float
    """MiB a second."""
    serial: NotRequired[str]
    """Shell pattern on the device's serial; an EBS volume's is its id without the dash. Any by default."""
    name: NotRequired[str]
    """Shell pattern on the kernel's name, as in nvme1n1. Any by default."""


class IoControllerArgs(TypedDict):
    """What the controller does, and where."""

    image: pulumi.Input[str]
    """Of images/drcio-controller, named by digest."""
    namespace: NotRequired[str]
    """Its own, made with it: it mounts host paths. drcio-system by default."""
    policy: NotRequired[str]
    """drcio by default; the others exist to be compared with it."""
    engine: NotRequired[str]
    """auto by default: the best that kernel and device take of iocost, bfq and iomax."""
    classes: NotRequired[dict[str, PriorityClassArgs]]
    """Values of the label drcio.io/priority. high 1000, medium 100 and low 10 by default."""
    default_class: NotRequired[str]
    """Of pods that carry no label and whose namespace carries none; without it they are left alone."""
    floor_percent: NotRequired[float]
    """Low priority is never held below this share of the volume. 10 by default."""
    volumes: NotRequired[list[VolumeProfileArgs]]
    """What volumes can do, the first that matches a device counts; without it the controller finds out."""
    monitors: NotRequired[bool]
    """Make a PodMonitor, rules and dashboards as well, for a cluster with the Prometheus operator."""


class IoController(pulumi.ComponentResource):
    """One agent on each node that gives pods labelled drcio.io/priority their share of I/O, and keeps
    latency-critical ones fast. Until a pod has a class it writes nothing; as it ends it puts everything back.
    """

    namespace: pulumi.Output[str]
    """Where it runs."""
    config: pulumi.Output[str]
    """The configuration that the agents run on, as their ConfigMap has it."""

    def __init__(self, name: str, args: IoControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"{PACKAGE}:index:IoController", name, {}, opts)
        space = args.get("namespace", DEFAULT_NAMESPACE)
        config = configuration(args)
        where = Destination(provider=None, parent=self)
        where = where.then(namespace(space, "privileged", where))
        presence = Presence(name, io_controller.APP, space, where, present=True)
        controller = io_controller.IoController(
            name,
            io_controller.IoControllerArgs(
                namespace=space, image=args["image"], config=config, suffix="", stack=None, presence=presence
            ),
            where,
        )
        if args.get("monitors", False):
            target = Target(app=io_controller.APP, namespace=space, port="metrics", own_labels=True)
            Monitors(f"{name}-monitors", [target], where)
            owner = Owner(namespace=space, system_namespace=space, whole_cluster=True)
            Rules(f"{name}-rules", owner, [controller_group(config, owner)], where)
            Dashboards(f"{name}-dashboards", space, where)
        self.namespace = controller.urn.apply(lambda _: space)
        self.config = pulumi.Output.from_input(dump(config))
        self.register_outputs({"namespace": self.namespace, "config": self.config})


def configuration(args: IoControllerArgs) -> Config:
    """Return the agents' configuration.

    Raises:
        ConfigError: a value is out of its range, in the words of whoever reads the agents' file.
    """
    document = {
        key: _whole(args[key])
        for key in ("policy", "engine", "classes", "default_class", "floor_percent", "volumes")
        if key in args
    }
    return parse(yaml.safe_dump(document)) if document else Config()


def _whole(value: object) -> object:
    """Return a value with its whole numbers as such: on the wire all of them are floating-point."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _whole(inner) for key, inner in value.items()}
        case list():
            return [_whole(inner) for inner in value]
        case _:
            return value
