"""The `hp-service` command."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TypeAlias

from hp_service.errors import HpServiceError

DEFAULT_PORT = 8080
DEFAULT_MAX_IN_FLIGHT = 64
DEFAULT_DRAIN_S = 20
DEFAULT_SEED = 7


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    # Read by OpenMP when torch and DGL load it, each its own copy. Their kernels are too small here to
    # gain from threads, and would fight with the threads of other requests.
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        if arguments.command == "prepare":
            return _prepare(arguments)
        if arguments.command == "serve":
            return _serve(arguments)
        return _bench(arguments)
    except HpServiceError as error:
        print(f"hp-service: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hp-service",
        description="Score reviews for fraud with a graph neural network whose features are read from disk.",
    )
    parser.add_argument("--version", action="version", version=version("drcio-hp-service"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_prepare(commands)
    _add_serve(commands)
    _add_bench(commands)
    return parser


def _add_prepare(commands: _Commands) -> None:
    prepare = commands.add_parser(
        "prepare",
        help="fetch the data, build the graph and the feature file, train the model",
        description="Make a prepared directory. Does nothing if it is up to date.",
    )
    _data_argument(prepare)
    prepare.add_argument(
        "--scale",
        type=_positive,
        default=1,
        metavar="N",
        help="copies of the graph; one takes 0.43 GB of disk (default: 1)",
    )
    prepare.add_argument("--seed", type=int, default=DEFAULT_SEED, metavar="N", help="default: %(default)s")
    prepare.add_argument(
        "--cache-dir",
        type=Path,
        metavar="DIR",
        help="where the downloaded data package is kept (default: $XDG_CACHE_HOME/drcio)",
    )
    prepare.add_argument(
        "--epochs", type=_positive, metavar="N", help="passes over the training reviews (default: 12)"
    )
    prepare.add_argument(
        "--verify", action="store_true", help="compare the feature file's checksum too, not only its size"
    )


def _add_serve(commands: _Commands) -> None:
    serve = commands.add_parser(
        "serve",
        help="serve a prepared directory over HTTP",
        description="Score reviews over HTTP from a prepared directory, until SIGTERM.",
    )
    _data_argument(serve)
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=int, default=DEFAULT_PORT, help="default: %(default)s")
    serve.add_argument(
        "--max-in-flight",
        type=_positive,
        default=DEFAULT_MAX_IN_FLIGHT,
        metavar="N",
        help="requests admitted at once; more are answered 503 (default: %(default)s)",
    )
    serve.add_argument(
        "--drain-seconds",
        type=_positive,
        default=DEFAULT_DRAIN_S,
        metavar="S",
        help="time for requests in flight after SIGTERM (default: %(default)s)",
    )
    _aio_argument(serve)


def _add_bench(commands: _Commands) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure the service's own cost per request",
        description="Compare a request's time with the same reads done by fio plus the model alone.",
    )
    _data_argument(bench)
    bench.add_argument(
        "--requests", type=_positive, default=500, metavar="N", help="requests to time (default: %(default)s)"
    )
    bench.add_argument("--seed", type=int, default=DEFAULT_SEED, metavar="N", help="default: %(default)s")
    bench.add_argument("--json", action="store_true", help="print the numbers as JSON")
    _aio_argument(bench)


def _data_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the prepared directory")


def _aio_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-aio", action="store_true", help="read with a pool of threads instead of the kernel's AIO"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def _prepare(arguments: argparse.Namespace) -> int:
    from hp_service.prepare import DEFAULT_EPOCHS, PrepareOptions, prepare, stale_because
    from hp_service.progress import Progress
    from hp_service.source import default_cache_dir

    options = PrepareOptions(
        data_dir=arguments.data,
        cache_dir=arguments.cache_dir or default_cache_dir(os.environ),
        scale=arguments.scale,
        seed=arguments.seed,
        epochs=arguments.epochs or DEFAULT_EPOCHS,
        verify=arguments.verify,
    )
    reason = stale_because(options)
    if not reason:
        print(f"{options.data_dir} is up to date")
        return 0
    started = time.monotonic()
    with Progress(sys.stderr) as progress:
        metadata = prepare(options, progress.report)
    quality = metadata.quality
    print(
        f"{options.data_dir} is ready after {time.monotonic() - started:.0f} s: "
        f"{metadata.graph.reviews} reviews, {metadata.graph.nodes} feature rows"
    )
    print(f"{'on held-out users':<22}{'AUC':>7}{'avg. precision':>17}")
    for name, row in (("GraphSAGE", quality.model), ("logistic regression", quality.logistic_regression)):
        print(f"{name:<22}{row.auc:>7.3f}{row.average_precision:>17.3f}")
    low, high = quality.auc_gain_95
    print(f"GraphSAGE gains {low:+.3f} to {high:+.3f} AUC (95% interval over users)")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from hp_service.server import ServeOptions, serve

    serve(
        ServeOptions(
            data_dir=arguments.data,
            host=arguments.host,
            port=arguments.port,
            max_in_flight=arguments.max_in_flight,
            drain_s=arguments.drain_seconds,
            allow_aio=not arguments.no_aio,
        )
    )
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    from hp_service.bench import BenchOptions, format_report, run_bench

    report = run_bench(
        BenchOptions(
            data_dir=arguments.data,
            requests=arguments.requests,
            seed=arguments.seed,
            allow_aio=not arguments.no_aio,
        )
    )
    print(report.to_json() if arguments.json else format_report(report))
    return 0
