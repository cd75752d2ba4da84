"""Command line of the agent."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final

from drcio_controller.errors import ControllerError, NodeError
from drcio_controller.kube.errors import EndpointError

DEFAULT_PORT: Final = 9400

_EPILOG = """\
examples:
  drcio-controller                          run on this node until SIGTERM, then put everything back
  drcio-controller --dry-run --once         show what would be written, and write nothing
  drcio-controller doctor                   check this node: cgroup v2, controllers, engines, devices
  drcio-controller status --watch           what the running agent does, and why
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent; return the exit status."""
    arguments = _parser(os.environ).parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s level=%(levelname)s at=%(name)s %(message)s",
        stream=sys.stderr,
    )
    try:
        return int(arguments.run(arguments))
    except (ControllerError, EndpointError) as error:
        print(f"drcio-controller: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="drcio-controller",
        description="Give the pods of this node their share of I/O, and keep latency-critical ones fast.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_run_agent)
    parser.add_argument("-v", "--verbose", action="store_true", help="log every write")
    parser.add_argument(
        "--cgroup-root", type=Path, default=Path("/sys/fs/cgroup"), metavar="DIR",
        help="where the host's cgroup v2 tree is mounted (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--sys-root", type=Path, default=Path("/sys"), metavar="DIR",
        help="where sysfs is mounted (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--config", type=Path, metavar="FILE",
        help="configuration, reloaded when it changes (default: built-in defaults)",
    )  # fmt: skip
    parser.add_argument(
        "--node-name", default=environ.get("NODE_NAME", ""), metavar="NAME",
        help="this node's name in Kubernetes (default: $NODE_NAME)",
    )  # fmt: skip
    parser.add_argument(
        "--api-server",
        metavar="URL",
        help="API server (default: the one of this cluster, by service account)",
    )
    parser.add_argument(
        "--state-dir", type=Path, default=Path("/run/drcio"), metavar="DIR",
        help="where earlier values are kept across a crash; a tmpfs (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--listen", type=_address, default=("0.0.0.0", DEFAULT_PORT), metavar="HOST:PORT",  # noqa: S104 - scraped from outside the pod
        help=f"metrics, probes and status (default: 0.0.0.0:{DEFAULT_PORT})",
    )  # fmt: skip
    parser.add_argument("--once", action="store_true", help="apply once, leave it so, and end")
    parser.add_argument("--dry-run", action="store_true", help="log what would be written; write nothing")
    commands = parser.add_subparsers(title="other commands", metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor", help="check this node and say what would be done",
        description="Check cgroup v2, the io controller at every level, iocost, BFQ and the devices.",
    )  # fmt: skip
    doctor.add_argument("--json", action="store_true", help="print the checks for machines")
    doctor.set_defaults(run=_run_doctor)
    status = commands.add_parser(
        "status", help="show what the running agent does, and why",
        description="Ask the agent on this node (or another, by --url) and show pods, devices, decisions.",
    )  # fmt: skip
    status.add_argument(
        "--url", default=f"http://127.0.0.1:{DEFAULT_PORT}", help="the agent's address (default: %(default)s)"
    )
    status.add_argument("--json", action="store_true", help="print the status for machines")
    status.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")
    status.set_defaults(run=_run_status)
    bench = commands.add_parser(
        "bench", help="measure what the agent itself costs, on a made-up cgroup tree",
        description="Print CPU share and memory with 110 pods, and the time of a tick over 1,000 cgroups.",
    )  # fmt: skip
    bench.add_argument("--pods", type=int, default=110, metavar="N", help="pods (default: %(default)s)")
    bench.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="how long (default: %(default)s)"
    )
    bench.add_argument("--json", action="store_true", help="print the figures for machines")
    bench.set_defaults(run=_run_bench)
    return parser


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form HOST:PORT")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - `:9400` means every address


def _run_agent(arguments: argparse.Namespace) -> int:
    from drcio_controller.agent import Agent, Options
    from drcio_controller.knob import Roots
    from drcio_controller.kube.endpoint import at_url, in_cluster

    if not arguments.node_name:
        raise NodeError(
            "the node's name is not known",
            hint="give --node-name, or set NODE_NAME from the field spec.nodeName",
        )
    endpoint = at_url(arguments.api_server) if arguments.api_server else in_cluster(os.environ)
    if not arguments.dry_run:
        arguments.state_dir.mkdir(parents=True, exist_ok=True)
    options = Options(
        node_name=arguments.node_name,
        endpoint=endpoint,
        roots=Roots(arguments.cgroup_root, arguments.sys_root),
        state_dir=arguments.state_dir,
        config_path=arguments.config,
        listen=arguments.listen,
        once=arguments.once,
        dry_run=arguments.dry_run,
    )
    agent = Agent(options)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: agent.stop())
    return agent.run()


def _run_doctor(arguments: argparse.Namespace) -> int:
    from drcio_controller import doctor
    from drcio_controller.configfile import ConfigFile
    from drcio_controller.knob import Roots

    file = ConfigFile(arguments.config)
    file.poll()
    if file.error:
        raise ControllerError(file.error)
    checks = doctor.examine(Roots(arguments.cgroup_root, arguments.sys_root), file.config)
    print(doctor.to_json(checks) if arguments.json else doctor.render(checks))
    return doctor.exit_status(checks)


def _run_status(arguments: argparse.Namespace) -> int:
    from drcio_controller.table import render

    while True:
        text = _fetch_status(arguments.url)
        output = text if arguments.json else render(json.loads(text))
        print(f"\x1b[H\x1b[2J{output}" if arguments.watch and sys.stdout.isatty() else output, flush=True)
        if not arguments.watch:
            return 0
        time.sleep(1.0)


def _fetch_status(url: str) -> str:
    import urllib3

    try:
        response = urllib3.request("GET", f"{url.rstrip('/')}/status", timeout=2.0, retries=False)
        if response.status != HTTPStatus.OK:
            raise ValueError(f"status {response.status}")
        return response.data.decode()
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        raise NodeError(
            f"no agent answers at {url}: {error}",
            hint="is it running? in a cluster: kubectl port-forward ds/drcio-controller 9400",
        ) from error


def _run_bench(arguments: argparse.Namespace) -> int:
    from drcio_controller import bench

    logging.getLogger().setLevel(logging.WARNING)  # the made-up node's life is not news
    figures = bench.measure(pods=arguments.pods, seconds=arguments.seconds)
    print(bench.to_json(figures) if arguments.json else bench.render(figures))
    return bench.exit_status(figures)
