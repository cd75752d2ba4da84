"""The command line: options in, a record out.

Exit status: 0 done, 1 service or record error, 2 usage, 4 fell behind the schedule (the run is
invalid), 130 interrupted, 143 terminated.
"""

import argparse
import json
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from load_generator.errors import LoadGeneratorError, UsageError
from load_generator.levels import LEVELS_RPS, level_rps
from load_generator.plan import Plan
from load_generator.record import LoadRecord, merge, read_record
from load_generator.run import Progress, generate
from load_generator.schedule import Arrivals

_FELL_BEHIND = 4


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        return _merge(options) if options.command == "merge" else _run(options)
    except LoadGeneratorError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code


def _run(options: argparse.Namespace) -> int:
    plan = Plan(
        url=options.url,
        rate_rps=options.rate if options.rate is not None else level_rps(options.level or "low"),
        duration_s=options.duration,
        warmup_s=options.warmup,
        seed=options.seed,
        arrivals=Arrivals(options.arrivals),
        ids_max=options.ids_max,
        timeout_s=options.timeout,
        ready_timeout_s=options.ready_timeout,
        lag_limit_ms=options.lag_limit,
    )
    output = _output_file(options.output)
    stop = threading.Event()
    received: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        stop.set()

    signal.signal(signal.SIGINT, ask)
    signal.signal(signal.SIGTERM, ask)
    record = generate(plan, on_progress=(lambda _: None) if options.quiet else _show, stop=stop)
    _write(output, record)
    _print_result(record, output)
    if received:
        return 128 + received[0]
    return _FELL_BEHIND if record.fell_behind else 0


def _merge(options: argparse.Namespace) -> int:
    record = merge([read_record(path) for path in options.records])
    if options.output is None:
        print(json.dumps(record.to_json()))
        return 0
    output = _output_file(options.output)
    _write(output, record)
    _print_result(record, output)
    return 0


def _output_file(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--output {directory}: {error.strerror}", hint="give a directory that this user may write"
        ) from error
    return directory / "load.json"


def _write(path: Path, record: LoadRecord) -> None:
    draft = path.with_suffix(".tmp")
    try:
        draft.write_text(json.dumps(record.to_json()) + "\n")
        draft.rename(path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", hint="give --output a writable directory"
        ) from error


def _show(progress: Progress) -> None:
    print(
        f"event=progress phase={progress.phase} elapsed_s={progress.elapsed_s:.0f} "
        f"of_s={progress.phase_s:.0f} sent={progress.sent} completed={progress.completed} "
        f"failed={progress.failed} in_flight={progress.in_flight}",
        file=sys.stderr,
        flush=True,
    )


def _print_result(record: LoadRecord, path: Path) -> None:
    def line(name: str, p50_ms: float | None, p95_ms: float | None, p99_ms: float | None) -> str:
        cells = ["-" if value is None else f"{value:.2f}" for value in (p50_ms, p95_ms, p99_ms)]
        return f"  {name:<10}" + "".join(f"{cell:>11}" for cell in cells)

    print(
        f"offered {record.offered_rps:.1f} rps, achieved {record.achieved_rps:.1f} rps; planned "
        f"{record.planned}, sent {record.sent}, answered {record.completed}, errors {dict(record.errors)}"
    )
    print(f"  {'ms':<10}{'p50':>11}{'p95':>11}{'p99':>11}")
    for name, histogram in (("latency", record.latency), *sorted(record.timings.items())):
        print(line(name, *(histogram.percentile_ms(p) for p in (50, 95, 99))))
    print(line("own lag", *(record.lag.percentile_ms(p) for p in (50, 95, 99))))
    if record.fell_behind:
        print(
            f"INVALID: sent late, p99 {record.lag.percentile_ms(99)} ms against a limit of "
            f"{record.plan.lag_limit_ms:g} ms"
        )
    if record.interrupted:
        print("interrupted: the record holds what was measured until then")
    print(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="load-generator",
        description="Send requests on a schedule, whatever the service does, and record what became of them.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="send load and write a record",
        description="Send requests at a steady or named rate and write a record of every one.",
    )
    run.add_argument("--url", required=True, help="where to POST, such as http://HOST:8080/score")
    rate = run.add_mutually_exclusive_group()
    rate.add_argument("--rate", type=float, metavar="RPS", help="requests a second")
    levels = ", ".join(f"{name} {rps:g}" for name, rps in LEVELS_RPS.items())
    rate.add_argument("--level", choices=LEVELS_RPS, help=f"named rate: {levels} rps (default low)")
    run.add_argument("--duration", type=float, default=30.0, metavar="S", help="measured (default 30)")
    run.add_argument("--warmup", type=float, default=0.0, metavar="S", help="before it (default 0)")
    run.add_argument("--seed", type=int, default=1, help="fixes arrivals and ids (default 1)")
    run.add_argument(
        "--arrivals",
        choices=[arrivals.value for arrivals in Arrivals],
        default=Arrivals.POISSON.value,
        help="random as independent users are (default poisson), or evenly spaced",
    )
    run.add_argument("--ids-max", type=int, default=1000, metavar="N", help="ids are 0 to N-1")
    run.add_argument("--timeout", type=float, default=30.0, metavar="S", help="of one request (default 30)")
    run.add_argument(
        "--ready-timeout", type=float, default=60.0, metavar="S", help="wait for /readyz (default 60)"
    )
    run.add_argument(
        "--lag-limit",
        type=float,
        default=50.0,
        metavar="MS",
        help="p99 of the generator's own lateness above which the run is invalid (default 50)",
    )
    run.add_argument("--output", type=Path, required=True, metavar="DIR", help="load.json is written there")
    run.add_argument("--quiet", action="store_true", help="no progress on standard error")

    merging = commands.add_parser(
        "merge",
        help="combine records of generators that ran side by side",
        description="Combine the records of generators that ran side by side into one.",
    )
    merging.add_argument("records", nargs="+", type=Path, metavar="RECORD")
    merging.add_argument(
        "--output", type=Path, metavar="DIR", help="write load.json there instead of standard output"
    )
    return parser
