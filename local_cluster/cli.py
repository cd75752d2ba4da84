"""A Kubernetes cluster on this machine: `python -m local_cluster up|status|down|images`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

from rich.console import Console

from drcio_controller.help import Parser
from experiments.commands.guest_options import memory_mib
from experiments.help import add_command
from experiments.targets.twin import prepare_volume
from local_cluster import cluster, status
from local_cluster.errors import ClusterError
from local_cluster.images.prepare import Prepared, prepared
from local_cluster.node.boot import NodeOptions
from local_cluster.node.settings import DRIVERS
from local_cluster.told import Told
from node_twin.errors import TwinError

ERROR_STATUS: Final = 2
INTERRUPTED_STATUS: Final = 130
NOT_UP_STATUS: Final = 1
_LOOK_EVERY_S: Final = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        result: int = options.command(options)
    except KeyboardInterrupt:
        print("ended; nothing is left running")
        return INTERRUPTED_STATUS
    except (ClusterError, TwinError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR_STATUS
    return result


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m local_cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = add_command(commands, "up", help="start it and hold it until Ctrl-C")
    up.set_defaults(command=_up)
    up.add_argument(
        "--empty-volume", action="store_true", help="let the service prepare its data on the node"
    )
    walk = add_command(
        commands, "tour", help="start it, run the three scenarios on it, change a weight, report"
    )
    walk.set_defaults(command=_tour)
    images = add_command(commands, "images", help="build the images and the disk that the node has them on")
    images.set_defaults(command=_images)
    for command in (up, walk):
        command.add_argument(
            "--memory-mib", type=memory_mib, default=NodeOptions.memory_mib, help="of the node"
        )
        command.add_argument(
            "--cgroup-driver", choices=DRIVERS, default=DRIVERS[0], help="the kubelet's; EKS has the first"
        )
    for command in (up, walk, images):
        command.add_argument(
            "--from", dest="base", metavar="IMAGE", help="base of the images, instead of one made here"
        )
    add_command(commands, "status", help="print what is up").set_defaults(command=_status)
    add_command(commands, "down", help="end it from another terminal").set_defaults(command=_down)
    return parser


class _Clock:
    """Prints what is being done, with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)


def _up(options: argparse.Namespace) -> int:
    tell = _Clock()
    images = prepared(cluster.CACHE / "cluster", options.base, tell=tell)
    with cluster.running(_cluster_options(options, images, tell), tell=tell) as up:
        print(f"\n  export KUBECONFIG={up.kubeconfig}\n  kubectl get nodes\n\nCtrl-C ends it.", flush=True)
        while True:
            up.check()
            time.sleep(_LOOK_EVERY_S)


def _tour(options: argparse.Namespace) -> int:
    # The engine takes a second to import, and nothing else of this program has it.
    from local_cluster.tour import tour

    tell = _Clock()
    images = prepared(cluster.CACHE / "cluster", options.base, tell=tell)
    _show(images)
    with cluster.running(_cluster_options(options, images, tell), tell=tell) as up:
        return tour(up, images, Console(highlight=False, soft_wrap=True), tell)


def _cluster_options(
    options: argparse.Namespace, images: Prepared, tell: Callable[[str], None]
) -> NodeOptions:
    contents = None
    if not getattr(options, "empty_volume", False):
        contents = prepare_volume(cluster.CACHE / "volume", Told(tell))
    return NodeOptions(
        store=images.disk,
        volume_contents=contents,
        memory_mib=options.memory_mib,
        cgroup_driver=options.cgroup_driver,
    )


def _images(options: argparse.Namespace) -> int:
    _show(prepared(cluster.CACHE / "cluster", options.base, tell=_Clock()))
    return 0


def _show(images: Prepared) -> None:
    for name, reference in images.references.items():
        print(f"{name:16} {images.sizes_bytes[name] >> 20:5d} MiB  {reference}")
    taken = images.disk.stat().st_blocks * 512
    print(f"on one disk, shared layers once: {taken >> 20} MiB, {images.disk}")


def _status(_options: argparse.Namespace) -> int:
    pid = cluster.holder()
    if pid is None:
        print("no cluster of this checkout is up")
        return NOT_UP_STATUS
    for line in status.lines(pid):
        print(line)
    return 0


def _down(_options: argparse.Namespace) -> int:
    print("ended; nothing is left running" if cluster.end() else "no cluster of this checkout was up")
    return 0
