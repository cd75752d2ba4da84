"""Command line of the agent."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from drcio_controller.errors import ControllerError, NodeError
from drcio_controller.help import Parser
from drcio_controller.kube.errors import EndpointError

if TYPE_CHECKING:
    from drcio_controller.kube.endpoint import Endpoint

DEFAULT_PORT: Final = 9400
DEFAULT_URL: Final = f"http://127.0.0.1:{DEFAULT_PORT}"
STATUS_URL_VARIABLE: Final = "DRCIO_STATUS_URL"

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

_EPILOG = """\
examples:
  drcio-controller --node-name NAME --api-server URL
      run on this node until SIGTERM, then put everything back
  drcio-controller --node-name NAME --api-server URL --dry-run --once
      show what would be written, and write nothing
  drcio-controller doctor                   check this node: cgroup v2, controllers, engines, devices
  drcio-controller status                   what the running agent does, and why
  drcio-controller top                      the same, again every second

NAME is this node's in `kubectl get nodes`, URL for example http://127.0.0.1:8001, the one of `kubectl proxy`.
In its own pod the agent needs neither option: NODE_NAME and the service account stand for them.
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


def _parser(environ: Mapping[str, str]) -> Parser:
    parser = Parser(
        prog="drcio-controller",
        description="Give the pods of this node their share of I/O, and keep latency-critical ones fast.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_run_agent)
    parser.add_argument("-v", "--verbose", action="store_true", help="log every write")
    parser.add_argument(
        "--cgroup-root", type=Path, default=Path(environ.get("DRCIO_CGROUP_ROOT", "/sys/fs/cgroup")),
        metavar="DIR",
        help="where the host's cgroup v2 tree is mounted (default: $DRCIO_CGROUP_ROOT or /sys/fs/cgroup)",
    )  # fmt: skip
    parser.add_argument(
        "--sys-root", type=Path, default=Path(environ.get("DRCIO_SYS_ROOT", "/sys")), metavar="DIR",
        help="where sysfs is mounted (default: $DRCIO_SYS_ROOT or /sys)",
    )  # fmt: skip
    parser.add_argument(
        "--config", type=Path, metavar="FILE",
        default=Path(environ["DRCIO_CONFIG"]) if environ.get("DRCIO_CONFIG") else None,
        help="configuration, reloaded when it changes; one that is refused ends --once, and leaves a running"
        " agent with the last good one (default: $DRCIO_CONFIG, or built-in defaults)",
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
        "--state-dir", type=Path, default=Path(environ.get("DRCIO_STATE_DIR", "/run/drcio")), metavar="DIR",
        help="where earlier values are kept across a crash; a tmpfs"
        " (default: $DRCIO_STATE_DIR or /run/drcio)",
    )  # fmt: skip
    parser.add_argument(
        "--listen", type=_address, default=("0.0.0.0", DEFAULT_PORT), metavar="HOST:PORT",  # noqa: S104 - scraped from outside the pod
        help=f"metrics, probes and status (default: 0.0.0.0:{DEFAULT_PORT})",
    )  # fmt: skip
    parser.add_argument("--once", action="store_true", help="apply once, leave it so, and end")
    parser.add_argument("--dry-run", action="store_true", help="log what would be written; write nothing")
    commands = parser.add_subparsers(title="other commands", metavar="COMMAND")
    _add_doctor(commands, environ)
    _add_views(commands, environ)
    bench = commands.add_parser(
        "bench", help="measure what the agent itself costs, on a made-up cgroup tree",
        description="Print CPU share and memory with 110 pods, and the time of a tick over 1,000 cgroups.",
    )  # fmt: skip
    bench.add_argument("--pods", type=_count, default=110, metavar="N", help="pods (default: %(default)s)")
    bench.add_argument(
        "--seconds", type=_seconds, default=10.0, metavar="S", help="how long (default: %(default)s)"
    )
    bench.add_argument("--json", action="store_true", help="print the figures for machines")
    bench.set_defaults(run=_run_bench)
    return parser


def _add_doctor(commands: Commands, environ: Mapping[str, str]) -> None:
    doctor = commands.add_parser(
        "doctor", help="check this node and its agent; exit status 1 if something is wrong",
        description="Check cgroup v2, the io controller at every level, iocost, BFQ, the devices, the"
        " configuration, and what the agent says of itself.",
    )  # fmt: skip
    doctor.add_argument("--json", action="store_true", help="print the checks for machines")
    doctor.add_argument(
        "--url", default=environ.get(STATUS_URL_VARIABLE), metavar="URL",
        help=f"the agent's address; one must answer there (default: ${STATUS_URL_VARIABLE}, which its own"
        f" container sets; else {DEFAULT_URL}, where none need be)",
    )  # fmt: skip
    doctor.set_defaults(run=_run_doctor)


def _add_views(commands: Commands, environ: Mapping[str, str]) -> None:
    for name, text in (
        ("status", "show what the running agent does, and why"),
        ("top", "the same as status, again and again until Ctrl-C"),
    ):
        view = commands.add_parser(
            name, help=text,
            description="Ask the agent on this node (or another, by --url) and show for each device what it"
            " can do, who has it, what is set, and whether it acts.",
        )  # fmt: skip
        view.add_argument(
            "--url", default=environ.get(STATUS_URL_VARIABLE, DEFAULT_URL), metavar="URL",
            help="the agent's address (default: %(default)s)",
        )  # fmt: skip
        view.set_defaults(run=_run_status, json=False)
        if name == "status":
            view.add_argument("--json", action="store_true", help="print the status for machines")
            view.set_defaults(count=1, interval=0.0)
        else:
            view.add_argument(
                "--interval", type=_seconds, default=1.0, metavar="S",
                help="seconds between two (default: %(default)s)",
            )  # fmt: skip
            view.add_argument(
                "--count", type=_count, default=0, metavar="N", help="end after so many; 0: never"
            )


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form HOST:PORT")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - `:9400` means every address


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 86400")
    return seconds


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _run_agent(arguments: argparse.Namespace) -> int:
    from drcio_controller.agent import Agent, Options
    from drcio_controller.kernel.files import raise_files_limit
    from drcio_controller.kernel.knob import Roots

    endpoint = _known_endpoint(arguments)
    if not arguments.dry_run:
        try:
            arguments.state_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NodeError(
                f"{arguments.state_dir} cannot be made: {error.strerror}",
                hint="mount a writable tmpfs of the node there, or name another folder by --state-dir",
            ) from error
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
    raise_files_limit()
    agent = Agent(options)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: agent.stop())
    return agent.run()


def _known_endpoint(arguments: argparse.Namespace) -> Endpoint:
    """Return where the API server is, once everything is known that must be; report all that is not."""
    from drcio_controller.kube.endpoint import at_url, in_cluster

    unknown: list[tuple[str, str]] = []
    if not arguments.node_name:
        remedy = "give --node-name, or set NODE_NAME from the field spec.nodeName"
        unknown.append(("the node's name is not known", remedy))
    endpoint = None
    try:
        endpoint = at_url(arguments.api_server) if arguments.api_server else in_cluster(os.environ)
    except EndpointError as error:
        unknown.append((str(error), error.hint))
    if endpoint is None or unknown:
        errors, remedies = zip(*unknown, strict=True)
        raise NodeError("; ".join(errors), hint="; ".join(remedies))
    return endpoint


def _run_doctor(arguments: argparse.Namespace) -> int:
    from drcio_controller import doctor
    from drcio_controller.configfile import ConfigFile
    from drcio_controller.kernel.devices import own_mounts
    from drcio_controller.kernel.knob import Roots

    file = ConfigFile(arguments.config)
    file.poll()
    expected = arguments.url is not None
    try:
        status = _fetch_status(arguments.url or DEFAULT_URL)
        answer = doctor.AgentAnswer(status=status, expected=expected)
    except NodeError as error:
        answer = doctor.AgentAnswer(error=str(error), expected=expected)
    checks = doctor.examine(
        Roots(arguments.cgroup_root, arguments.sys_root),
        file.config,
        config_error=file.error,
        state_dir=arguments.state_dir,
        agent=answer,
        mountinfo=own_mounts(),
    )
    _show(doctor.to_json(checks) if arguments.json else doctor.render(checks))
    return doctor.exit_status(checks)


def _run_status(arguments: argparse.Namespace) -> int:
    from drcio_controller.status.table import render

    shown = 0
    while True:
        try:
            document = _fetch_status(arguments.url)
            output = json.dumps(document) if arguments.json else render(document)
        except NodeError as error:
            if not shown:
                raise
            output = f"drcio-controller: {error}"  # an agent that is busy or restarts is seen again
        if arguments.count != 1 and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            output = f"\x1b[H\x1b[2J{_fit(output, shutil.get_terminal_size())}"
        shown += 1
        if not _show(output) or shown == arguments.count:
            return 0
        time.sleep(arguments.interval)


def _fit(text: str, screen: os.terminal_size) -> str:
    """Return what of a text fits onto a screen, so that its beginning does not scroll out of sight."""
    lines = [line[: screen.columns] for line in text.splitlines()]
    rows = max(2, screen.lines - 1)
    if len(lines) > rows:
        lines = [*lines[: rows - 1], f"({len(lines) - rows + 1} more lines: drcio-controller status)"]
    return "\n".join(lines)


def _show(text: str) -> bool:
    """Print a text as the terminal takes it; return whether anybody still reads it (`| head` may not)."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        # What is left in the buffer is written at exit once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _fetch_status(url: str) -> dict[str, object]:
    import urllib3

    try:
        response = urllib3.request("GET", f"{url.rstrip('/')}/status", timeout=2.0, retries=False)
        if response.status != HTTPStatus.OK:
            raise ValueError(f"status {response.status}")
        document = json.loads(response.data)
        if not isinstance(document, dict):
            raise ValueError("the answer is no JSON object")
    except (OSError, ValueError, RecursionError, urllib3.exceptions.HTTPError) as error:
        raise NodeError(
            f"no agent answers at {url}: {error}",
            hint="is it running? in a cluster: kubectl port-forward ds/drcio-controller 9400",
        ) from error
    return document


def _run_bench(arguments: argparse.Namespace) -> int:
    from drcio_controller import bench

    logging.getLogger().setLevel(logging.WARNING)  # the made-up node's life is not news
    figures = bench.measure(pods=arguments.pods, seconds=arguments.seconds)
    _show(bench.to_json(figures) if arguments.json else bench.render(figures))
    return bench.exit_status(figures)
